"""Apply an op to tensors with every check: devices, promotion, recording, `out=`.

The hot path, which handles what nearly every call is, stands in `multitorch.ops.specialized`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.autograd import modes, tape
from multitorch.autograd.tape import LEAF, Node, Output, next_seq, user_place
from multitorch.backend.registry import ARRAY_TYPES
from multitorch.dtypes import bool_, from_numpy_dtype
from multitorch.ops.op import Op
from multitorch.ops.overlap import refuse_overlap
from multitorch.promotion import DIMENSIONED, NUMBER, ZERO_DIM

Tensor: Any = None  # bound by multitorch.tensor
_new: Callable = object.__new__
capturing = 0
"""How many threads record a program at present; while it is zero no call needs to ask."""
_getframe = sys._getframe
_PYTHON_DTYPES = {bool: bool_, int: dtypes.int64, float: dtypes.float64, complex: dtypes.complex128}


def bind_tensor_class(cls: type) -> None:
    """Tell this module the class of the tensors that it makes."""
    global Tensor
    Tensor = cls


def common_device(op: Op, args: tuple) -> Any:
    """Return the device of the tensors among `args`; zero-dim cpu tensors follow the others."""
    found: Any = None
    for t in args:
        if not isinstance(t, Tensor):
            continue
        if found is None or found is t._dev:
            found = t._dev
            weak = t
        elif t.ndim == 0 and t._dev.type == "cpu":
            continue
        elif weak.ndim == 0 and found.type == "cpu":
            found, weak = t._dev, t
        else:
            raise RuntimeError(
                f"{op.name}: Expected all tensors to be on the same device, but found at least two "
                f"devices, {found} and {t._dev}! Remedy: move one of them with .to({str(found)!r})."
            )
    if found is None:
        kinds = ", ".join(type(a).__name__ for a in args)
        raise TypeError(f"{op.name}(): argument 'input' must be Tensor, not {kinds}")
    return found


def world_for(dev: Any) -> Any:
    """Return the world that computes for a device in this thread: its backend or the recording."""
    if capturing:
        recording = tape.Engine.recording
        if recording is not None:
            return recording(dev)
    return dev.backend


def raw_of(t: Any, dev: Any, world: Any) -> Any:
    """Return the raw array of `t` for a computation on `dev` (moving a zero-dim cpu tensor)."""
    if world.records:
        return world.lift(t)
    if t._dev is not dev:
        return dev.backend.put(t._dev.backend.get(t._a), type=dev.type, index=dev.ordinal)
    return t._a


def _operands(op: Op, args: tuple) -> list[tuple[Any, int]]:
    operands = []
    for i, t in enumerate(args):
        if i < len(op.args) and op.args[i] in op.keep or t is None:
            continue
        if isinstance(t, Tensor):
            operands.append((t._dtype, DIMENSIONED if t._a.ndim else ZERO_DIM))
        elif type(t) in _PYTHON_DTYPES and (op.numbers is None or op.args[i] in op.numbers):
            operands.append((_PYTHON_DTYPES[type(t)], NUMBER))
        elif hasattr(t, "dtype") and hasattr(t, "item"):
            operands.append((_PYTHON_DTYPES[type(t.item())], NUMBER))
        else:
            raise TypeError(
                f"{op.name}(): argument '{op.args[min(i, len(op.args) - 1)]}' (position {i + 1}) "
                f"must be Tensor, not {type(t).__name__}"
            )
    return operands


def _number(value: Any, dtype: Any) -> Any:
    """Bring a Python number to the kind of `dtype`, as data for a kernel."""
    if hasattr(value, "dtype"):
        value = value.item()
    if dtype.is_complex:
        return complex(value)
    if dtype.is_floating_point:
        return float(value)
    if dtype is bool_:
        return bool(value)
    low, high = _INT_RANGE[dtype]
    if not low <= value <= high:
        value = (int(value) - low) % (high - low + 1) + low
    return int(value)


_INT_RANGE = {d: (dtypes.iinfo(d).min, dtypes.iinfo(d).max) for d in dtypes.ALL if d.category == 1}


def _same_dtype(op: Op, args: tuple) -> Any:
    """Return the dtype of operands that need no promotion, None if they might."""
    assert op.promote is not None
    found: Any = None
    keep = op.keep
    for i, t in enumerate(args):
        if not isinstance(t, Tensor):
            return None
        if keep and op.args[i] in keep:
            continue
        if found is None:
            found = t._dtype
        elif t._dtype is not found:
            return None
    return found if found in op.promote.fast else None


def _promoted(op: Op, args: tuple, dev: Any, world: Any) -> tuple[list[Any], Any, bool]:
    """Return raw operands of one dtype, the dtype, and whether a cast back to it is due."""
    assert op.promote is not None
    same = _same_dtype(op, args)
    if same is not None:
        return [raw_of(t, dev, world) for t in args], same, False
    operands = _operands(op, args)
    dtype = compute = op.promote.compute(op.name, operands)
    if dtype.itemsize == 2 and dtype.is_floating_point and any(k == NUMBER for _, k in operands):
        compute = dtypes.float32  # a Python number beside half-precision data keeps its precision
    raws: list[Any] = []
    for i, t in enumerate(args):
        if t is None:
            raws.append(None)
        elif not isinstance(t, Tensor):
            raws.append(t if op.args[min(i, len(op.args) - 1)] in op.keep else _number(t, compute))
        else:
            a = raw_of(t, dev, world)
            cast = not (i < len(op.args) and op.args[i] in op.keep) and t._dtype is not compute
            raws.append(world.cast(a, dtype=compute.numpy()) if cast else a)
    return raws, dtype, compute is not dtype


def apply_general(op: Op, args: tuple, params: dict[str, Any], out: Any = None) -> Any:
    """Apply an op with every check: devices, promotion, recording, several outputs, `out=`."""
    dev = common_device(op, args)
    world = world_for(dev) if capturing else dev.backend
    narrow = None
    if op.promote is not None:
        raws, dtype, widened = _promoted(op, args, dev, world)
        narrow = dtype if widened and not op.promote.out_bool else None
    else:
        raws = [raw_of(t, dev, world) if isinstance(t, Tensor) else t for t in args]
    kernel = op.kernels[dev] if world is dev.backend else world.kernel(op.kernel)
    try:
        result = kernel(*raws, **params)
    except Exception:
        result = _run_again(op, args, world, kernel, raws, params)
    if narrow is not None:
        result = world.cast(result, dtype=narrow.numpy())
    results = result if result.__class__ is tuple else (result,)
    tensors = tuple([wrap(a, dev, world) for a in results])
    record(op, args, raws, params, tensors, dev)
    final = tensors if result.__class__ is tuple and not op.hidden else tensors[0]
    if out is None:
        return final
    if isinstance(out, Tensor) and op.promote is not None:
        refuse_overlap(out, args, same=True)
    return write_out(out, final)


def _run_again(
    op: Op, args: tuple, world: Any, kernel: Callable, raws: list, params: dict[str, Any]
) -> Any:
    """Repeat a failed kernel where floating-point warnings are off, in case one was an error."""
    try:
        with world.quiet():
            return kernel(*raws, **params)
    except Exception as error:
        raise _explain(op, args, error) from error.__cause__


def _explain(op: Op, args: tuple, error: Exception) -> Exception:
    """Return PyTorch's error for what made a kernel fail, or the kernel's own."""
    shapes = [tuple(t.shape) for t in args if isinstance(t, Tensor)]
    if op.broadcasts and len(shapes) > 1:
        broadcast_shape(*shapes)
    return error


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the common shape, or raise PyTorch's error.

    >>> broadcast_shape((3, 1), (2,))
    (3, 2)
    """
    result: list[int] = []
    for n, shape in enumerate(shapes):
        missing = len(shape) - len(result)
        if missing > 0:
            result = [1] * missing + result
        offset = len(result) - len(shape)
        for i, size in enumerate(shape, offset):
            if result[i] == 1:
                result[i] = size
            elif size != 1 and size != result[i]:
                names = f"tensor a ({result[i]}) must match the size of tensor b ({size})"
                raise RuntimeError(
                    f"The size of {names} at non-singleton dimension {i}; "
                    f"shapes {', '.join(str(tuple(s)) for s in shapes[: n + 1])}"
                )
    return tuple(result)


def as_array(a: Any, dev: Any) -> Any:
    """Return what a kernel gave as an array of its backend: it may be a scalar."""
    return a if a.__class__ in ARRAY_TYPES else dev.backend.as_array(a)


def wrap(a: Any, dev: Any, world: Any = None) -> Any:
    """Make a tensor of a raw array."""
    if a.__class__ not in ARRAY_TYPES:
        a = dev.backend.as_array(a)
    t = _new(Tensor)
    t._a = a
    t._dev = dev
    t._dtype = from_numpy_dtype[a.dtype]
    t._view = t._views = t._node = None
    if world is not None and world.records:
        world.track(t)
    return t


def wants_grad(args: tuple) -> bool:
    """Whether a call on these operands is recorded."""
    if modes.off_threads and not modes.is_grad_enabled():
        return False
    return any(isinstance(t, Tensor) and t._node is not None for t in args)


def record(
    op: Op, args: tuple, raws: Any, params: dict[str, Any], outs: tuple, dev: Any
) -> Node | None:
    """Put a node for a finished call on the tape, if some operand requires grad."""
    if not op.diff_outs or (modes.off_threads and not modes.is_grad_enabled()):
        return None
    if not any(isinstance(t, Tensor) and t._node is not None for t in args):
        return None
    metas = op.broadcasts or op.promote is not None
    return put_node(op, args, raws, params, outs, dev, metas)


def put_node(
    op: Op, args: tuple, raws: Any, params: dict, outs: tuple, dev: Any, metas: bool
) -> Node:
    """Put a node for a finished call on the tape; hidden outputs may be raw."""
    n = _new(Node)
    n.op = op
    n.dev = dev
    edges: list[Any] = []
    meta: list[Any] = []
    for t, a in zip(args, raws, strict=True):
        node = t._node if isinstance(t, Tensor) else None
        edges.append(t if node is LEAF else node)
        if metas:
            meta.append(None if node is None else (a.shape, t._dtype.np))
    n.edges = tuple(edges)
    n.meta = tuple(meta) if metas else None
    values = [t._a if isinstance(t, Tensor) else as_array(t, dev) for t in outs]
    n.saved = (op.saver or make_saver(op))(raws, params, values)
    n.extra = None
    n.seq = next_seq()
    n.where = user_place(_getframe(2))
    if len(op.diff_outs) == 1:
        t = outs[op.diff_outs[0]]
        if t._dtype.inexact:  # a cast to integers ends the graph
            t._node = n
    else:
        for k, i in enumerate(op.diff_outs):
            if isinstance(outs[i], Tensor) and outs[i]._dtype.inexact:
                outs[i]._node = Output(n, k)
    return n


_SOURCES = {
    "arg": "raws[{}],",
    "rest": "tuple(raws[{}:]),",
    "param": "params[{!r}],",
    "out": "outs[{}],",
    "shape": "getattr(raws[{}], 'shape', ()),",
    "dtype": "getattr(raws[{}], 'dtype', None),",
    "shapes": "tuple([a.shape for a in raws[{}:]]),",
    "dtypes": "tuple([a.dtype for a in raws[{}:]]),",
}


def make_saver(op: Op) -> Callable:
    """Return (and keep) the function that picks what an op's rules need of one call.

    It is written out as an expression: a loop over `op.plan` would take four times as long.
    """
    items = "".join([_SOURCES[kind].format(key) for kind, key in op.plan])
    saver = op.saver = written_out(f"lambda raws, params, outs: ({items})", op.name)
    return saver


def written_out(expression: str, name: str) -> Callable:
    """Return the function that an expression gives; `name` tells tracebacks where it is from."""
    return eval(compile(expression, f"<multitorch {name}>", "eval"))


def write_out(out: Any, result: Any, *apart: Any) -> Any:
    """Store a result in the tensor (or tuple of tensors) given as `out=`.

    It must share no memory with the tensors in `apart`.
    """
    if isinstance(result, tuple):
        stored = [write_out(o, r, *apart) for o, r in zip(out, result, strict=True)]
        kind = type(result)
        return kind(*stored) if hasattr(result, "_fields") else kind(stored)
    if apart:
        refuse_overlap(out, apart, result.shape)
    return out._store(result)
