"""Apply an op to tensors: the hot path for one and two operands, and the general path.

The hot path handles what nearly every call is: tensors of one dtype on one device, or a tensor and
a Python number. Whatever it does not know, an error included, is left to `apply_general`, which
checks everything and says what is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.autograd import modes, tape
from multitorch.autograd.tape import LEAF, USER_FILES, Node, Output, next_seq, user_place
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


def make_apply(op: Op) -> Callable:
    """Return the function that applies `op`, specialised by its number of operands."""
    count = len(op.args)
    if len(op.outs) > 1 or op.variadic or count > 3:
        return _several(op)
    if count == 3 and op.args[1] not in op.keep:
        return _ternary(op)
    if op.promote is None:
        return _unary_with_params(op) if count == 1 else _binary_with_params(op)
    if op.keep:
        return _several(op)
    simple = op.joint is None and all(kind in ("arg", "out") for kind, _ in op.plan)
    if not simple:
        return _several(op)
    return _unary(op) if count == 1 else _binary(op)


def _several(op: Op) -> Callable:
    """Any number of operands: tensors of one device (and dtype, where the op promotes)."""
    kernels, hidden, diff_outs = op.kernels, op.hidden, op.diff_outs
    fast = None if op.promote is None else op.promote.fast
    checks = [fast is not None and name not in op.keep for name in op.args]
    count = len(checks)
    metas = op.broadcasts or op.promote is not None

    def function(*args: Any, out: Any = None, **params: Any) -> Any:
        if capturing or out is not None:
            return apply_general(op, args, params, out)
        dev = dtype = None
        recorded = False
        raws = []
        more = len(args) - count
        flags = checks if more <= 0 else checks + checks[-1:] * more
        for t, check in zip(args, flags, strict=False):
            if isinstance(t, Tensor):
                if dev is None:
                    dev = t._dev
                elif t._dev is not dev:
                    return apply_general(op, args, params)
                if check:
                    if dtype is None:
                        dtype = t._dtype
                    elif t._dtype is not dtype:
                        return apply_general(op, args, params)
                if t._node is not None:
                    recorded = True
                raws.append(t._a)
            elif t is None or fast is None:
                raws.append(t)
            else:
                return apply_general(op, args, params)
        if dev is None or (fast is not None and dtype not in fast):
            return apply_general(op, args, params)
        try:
            result = kernels[dev](*raws, **params)
        except Exception:
            return apply_general(op, args, params)
        if result.__class__ is not tuple:
            final = wrap(result, dev)
            outs = (final,)
        elif hidden:
            final = wrap(result[0], dev)
            outs = (final, *result[1:])
        else:
            outs = final = tuple([wrap(a, dev) for a in result])
        if recorded and diff_outs and (not modes.off_threads or modes.is_grad_enabled()):
            _put_node(op, args, raws, params, outs, dev, metas)
        return final

    function.__name__ = function.__qualname__ = op.name
    return function


def _put_node(
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


def _unary(op: Op) -> Callable:
    promote = op.promote
    assert promote is not None
    kernels, fast, out_bool = op.kernels, promote.fast, promote.out_bool
    saves_x, saves_out, both = "x" in op.saves, "out" in op.saves, len(op.saves) == 2
    x_first = op.saves[:1] == ("x",)
    records = bool(op.diff_outs)

    def function(input: Any, *, out: Any = None) -> Any:
        x = input
        if capturing or out is not None:
            return apply_general(op, (x,), {}, out)
        try:
            dtype = x._dtype
            if dtype not in fast:
                return apply_general(op, (x,), {})
            dev = x._dev
            xa = x._a
            a = kernels[dev](xa)
        except Exception:
            return apply_general(op, (x,), {})
        if a.__class__ not in ARRAY_TYPES:
            a = dev.backend.as_array(a)
        t = _new(Tensor)
        t._a = a
        t._dev = dev
        t._dtype = bool_ if out_bool else dtype
        t._view = t._views = None
        node = x._node
        if node is not None and records and (not modes.off_threads or modes.is_grad_enabled()):
            n = t._node = _new(Node)
            n.op = op
            n.dev = dev
            n.edges = (x if node is LEAF else node,)
            if both:
                n.saved = (xa, a) if x_first else (a, xa)
            else:
                n.saved = (xa,) if saves_x else (a,) if saves_out else ()
            n.meta = n.extra = None
            n.seq = next_seq()
            frame = _getframe(1)
            code = frame.f_code
            if code.co_filename in USER_FILES:
                n.where = (code, frame.f_lasti)
            else:
                n.where = user_place(frame)
        else:
            t._node = None
        return t

    function.__name__ = function.__qualname__ = op.name
    return function


def _binary(op: Op) -> Callable:
    promote = op.promote
    assert promote is not None
    kernels, fast, out_bool = op.kernels, promote.fast, promote.out_bool
    fast_float, fast_int = promote.fast_float, promote.fast_int
    saves = op.saves
    sources = tuple({"x": 0, "y": 1, "out": 2}[n] for n in _canonical(op))
    saves_none, saves_xy = not saves, sources == (0, 1)
    records, broadcasts = bool(op.diff_outs), op.broadcasts

    def function(input: Any, other: Any, *, out: Any = None) -> Any:
        x = input
        y = other
        if capturing or out is not None:
            return apply_general(op, (x, y), {}, out)
        try:
            dtype = x._dtype
            dev = x._dev
            kind = y.__class__
            if kind is float or kind is int:
                if dtype not in (fast_float if kind is float else fast_int):
                    return apply_general(op, (x, y), {})
                ya = y
                y_node = None
            elif y._dtype is dtype and y._dev is dev and dtype in fast:
                ya = y._a
                y_node = y._node
            else:
                return apply_general(op, (x, y), {})
            xa = x._a
            a = kernels[dev](xa, ya)
        except Exception:
            return apply_general(op, (x, y), {})
        if a.__class__ not in ARRAY_TYPES:
            a = dev.backend.as_array(a)
        t = _new(Tensor)
        t._a = a
        t._dev = dev
        t._dtype = bool_ if out_bool else dtype
        t._view = t._views = None
        x_node = x._node
        if (
            (x_node is not None or y_node is not None)
            and records
            and (not modes.off_threads or modes.is_grad_enabled())
        ):
            n = t._node = _new(Node)
            n.op = op
            n.dev = dev
            n.edges = (x if x_node is LEAF else x_node, y if y_node is LEAF else y_node)
            if saves_none:
                n.saved = ()
            elif saves_xy:
                n.saved = (xa, ya)
            else:
                every = (xa, ya, a)
                n.saved = tuple([every[i] for i in sources])
            if not broadcasts or ya is y:
                n.meta = None
            else:
                x_shape = xa.shape
                y_shape = ya.shape
                if x_shape == y_shape:
                    n.meta = None
                else:
                    n.meta = ((x_shape, xa.dtype), (y_shape, ya.dtype))
            n.extra = None
            n.seq = next_seq()
            frame = _getframe(1)
            code = frame.f_code
            if code.co_filename in USER_FILES:
                n.where = (code, frame.f_lasti)
            else:
                n.where = user_place(frame)
        else:
            t._node = None
        return t

    function.__name__ = function.__qualname__ = op.name
    return function


def _unary_with_params(op: Op) -> Callable:
    kernels, records = op.kernels, bool(op.diff_outs)

    def function(input: Any, **params: Any) -> Any:
        x = input
        if capturing:
            return apply_general(op, (x,), params)
        try:
            dev = x._dev
            xa = x._a
            a = kernels[dev](xa, **params)
        except Exception:
            return apply_general(op, (x,), params)
        if a.__class__ not in ARRAY_TYPES:
            a = dev.backend.as_array(a)
        t = _new(Tensor)
        t._a = a
        t._dev = dev
        t._dtype = x._dtype if a.dtype is xa.dtype else from_numpy_dtype[a.dtype]
        t._view = t._views = None
        node = x._node
        if (
            node is not None
            and records
            and t._dtype.inexact
            and (not modes.off_threads or modes.is_grad_enabled())
        ):
            n = t._node = _new(Node)
            n.op = op
            n.dev = dev
            n.edges = (x if node is LEAF else node,)
            n.saved = (op.saver or make_saver(op))((xa,), params, (a,))
            n.meta = n.extra = None
            n.seq = next_seq()
            n.where = user_place(_getframe(1))
        else:
            t._node = None
        return t

    function.__name__ = function.__qualname__ = op.name
    return function


def _binary_with_params(op: Op) -> Callable:
    """Two tensors of one device that need no promotion, such as data and an index."""
    kernels, records = op.kernels, bool(op.diff_outs)

    def function(input: Any, other: Any, *, out: Any = None, **params: Any) -> Any:
        x = input
        y = other
        if capturing or out is not None:
            return apply_general(op, (x, y), params, out)
        try:
            dev = x._dev
            if y._dev is not dev:
                return apply_general(op, (x, y), params)
            xa = x._a
            ya = y._a
            a = kernels[dev](xa, ya, **params)
        except Exception:
            return apply_general(op, (x, y), params)
        if a.__class__ not in ARRAY_TYPES:
            a = dev.backend.as_array(a)
        t = _new(Tensor)
        t._a = a
        t._dev = dev
        t._dtype = x._dtype if a.dtype is xa.dtype else from_numpy_dtype[a.dtype]
        t._view = t._views = None
        if (
            (x._node is not None or y._node is not None)
            and records
            and t._dtype.inexact
            and (not modes.off_threads or modes.is_grad_enabled())
        ):
            saved = (op.saver or make_saver(op))((xa, ya), params, (a,))
            t._node = _node(op, dev, (_edge(x), _edge(y)), saved)
        else:
            t._node = None
        return t

    function.__name__ = function.__qualname__ = op.name
    return function


def _ternary(op: Op) -> Callable:
    """Three operands: tensors of one device (and dtype, where the op promotes) or None."""
    kernels, records = op.kernels, bool(op.diff_outs)
    fast = None if op.promote is None else op.promote.fast
    first, _, third = [fast is not None and name not in op.keep for name in op.args]
    metas = op.broadcasts or fast is not None
    out_bool = op.promote is not None and op.promote.out_bool

    def function(
        input: Any, other: Any, third_operand: Any = None, *, out: Any = None, **params: Any
    ) -> Any:
        x = input
        y = other
        z = third_operand
        if capturing or out is not None:
            return apply_general(op, (x, y, z), params, out)
        try:
            dev = x._dev
            dtype = y._dtype
            if y._dev is not dev or first and x._dtype is not dtype:
                return apply_general(op, (x, y, z), params)
            if fast is not None and dtype not in fast:
                return apply_general(op, (x, y, z), params)
            xa = x._a
            ya = y._a
            if z is None:
                za = z_node = None
            else:
                if z._dev is not dev or third and z._dtype is not dtype:
                    return apply_general(op, (x, y, z), params)
                za = z._a
                z_node = z._node
            a = kernels[dev](xa, ya, za, **params)
        except Exception:
            return apply_general(op, (x, y, z), params)
        if a.__class__ not in ARRAY_TYPES:
            a = dev.backend.as_array(a)
        t = _new(Tensor)
        t._a = a
        t._dev = dev
        t._dtype = (
            bool_ if out_bool else dtype if a.dtype is ya.dtype else from_numpy_dtype[a.dtype]
        )
        t._view = t._views = None
        if (
            (x._node is not None or y._node is not None or z_node is not None)
            and records
            and t._dtype.inexact
            and (not modes.off_threads or modes.is_grad_enabled())
        ):
            saved = (op.saver or make_saver(op))((xa, ya, za), params, (a,))
            n = t._node = _node(op, dev, (_edge(x), _edge(y), _edge(z)), saved)
            if metas:
                n.meta = (_meta(x), _meta(y), _meta(z))
        else:
            t._node = None
        return t

    function.__name__ = function.__qualname__ = op.name
    return function


def _edge(t: Any) -> Any:
    if t is None:
        return None
    node = t._node
    return t if node is LEAF else node


def _meta(t: Any) -> Any:
    return None if t is None or t._node is None else (t._a.shape, t._dtype.np)


def _node(op: Op, dev: Any, edges: tuple, saved: tuple) -> Node:
    """Return a node for the tape, made two frames below the caller of the op."""
    n = _new(Node)
    n.op = op
    n.dev = dev
    n.edges = edges
    n.saved = saved
    n.meta = n.extra = None
    n.seq = next_seq()
    n.where = user_place(_getframe(2))
    return n


def _canonical(op: Op) -> tuple[str, ...]:
    """Return the saved names with the op's own argument names replaced by x and y."""
    rename = dict(zip(op.args, ("x", "y"), strict=False))
    return tuple(rename.get(n, n) for n in op.saves)


# --- the general path ----------------------------------------------------------------------------


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
    return _put_node(op, args, raws, params, outs, dev, metas)


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
