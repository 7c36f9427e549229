"""Views: an alias group is a base tensor and the tensors made from it by view ops.

A view holds `(base, steps, root, root_steps)`: the chain of view ops that leads to it from the
tensor that owns the memory, and from the one that owns the history. The two differ after `detach`
and under `no_grad`: such a view is a root of its own (its `root` is None). The base knows its live
views by weak references. On mutable backends members share memory. On immutable ones they are
values, and a write to one member stores into the base and recomputes the others
(`multitorch.ops.inplace`). The tape follows a write in the same way on both.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from multitorch.autograd import modes
from multitorch.autograd.tape import LEAF, USER_FILES, Node, next_seq, user_place
from multitorch.backend.registry import ARRAY_TYPES
from multitorch.dtypes import from_numpy_dtype
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import apply_general, world_for, written_out
from multitorch.ops.op import Op

Step = tuple[Op, tuple[Any, ...], dict[str, Any]]
_reference = weakref.ref
_new = object.__new__
_getframe = sys._getframe
_PURGE_EVERY = 64


def view_op(name: str, args: str, *, undo: Callable, **options: Any) -> Op:
    """Declare a view op; `undo(F, base, new, *data, **params)` stores `new` where the view reads.

    `undo` returns the changed base, in any world; it is also how gradients of the view flow back.
    """
    op = Op(name, args, **options)
    op.view = undo
    return op


_NO_PARAMS: dict[str, Any] = {}


def apply_view(op: Op, x: Any, data: tuple = (), params: dict[str, Any] = _NO_PARAMS) -> Any:
    """Apply a view op: the result aliases `x`. `data` are integers, data to the kernel too."""
    if dispatch.capturing:
        t = apply_general(op, (x, *data), params)
        join(t, x, ((op, data, params),))
        return t
    xa = x._a
    kernel = op.kernels[x._dev]
    a = kernel(xa, *data, **params) if data else kernel(xa, **params)
    if a.__class__ not in ARRAY_TYPES:
        a = x._dev.backend.as_array(a)
    t = member(x, a, ((op, data, params),))
    if a.dtype is not xa.dtype:
        t._dtype = from_numpy_dtype[a.dtype]
    return t


def member(x: Any, a: Any, steps: tuple[Step]) -> Any:
    """Return the tensor of the array `a`, which the one view op in `steps` made of `x`."""
    t = _new(dispatch.Tensor)
    t._a = a
    t._dev = x._dev
    t._dtype = x._dtype
    t._views = None
    view = x._view
    if view is None:
        base = x
        t._view = (x, steps, x, steps)
    else:
        base, chain, root, root_chain = view
        if root is None:
            t._view = (base, chain + steps, x, steps)
        else:
            t._view = (base, chain + steps, root, root_chain + steps)
    views = base._views
    if views is None:
        base._views = [_reference(t)]
    elif views[-1]() is None:
        views[-1] = _reference(t)
    else:
        _register(base, t)
    node = x._node
    if node is None:
        t._node = None
    elif modes.off_threads and not modes.is_grad_enabled():
        # it shares the value, and the tape never follows it
        t._node = None
        attach_untracked(t)
    else:
        op, data, params = steps[0]
        if not op.diff_outs:
            t._node = None
            return t
        n = t._node = _new(Node)
        n.op = op
        n.dev = x._dev
        edge = x if node is LEAF else node
        n.edges = (edge, None) if data else (edge,)
        n.saved = (op.view_saver or _make_saver(op))(x._a, data, params)
        n.meta = n.extra = None
        n.seq = next_seq()
        frame = _getframe(2)
        code = frame.f_code
        if code.co_filename in USER_FILES:
            n.where = (code, frame.f_lasti)
        else:
            n.where = user_place(frame)
    return t


_SOURCES = {"param": "params[{!r}],", "shape": "a.shape,", "dtype": "a.dtype,"}


def _make_saver(op: Op) -> Callable:
    """Return (and keep) the function that picks what a view op's rule needs: never an array.

    A view op has one tensor, and at most one integer of data.
    """
    items = ["data[0]," if kind == "arg" else _SOURCES[kind].format(key) for kind, key in op.plan]
    saver = op.view_saver = written_out(f"lambda a, data, params: ({''.join(items)})", op.name)
    return saver


def _register(base: Any, t: Any) -> None:
    """Let a base tensor know a view; forget the views that are gone from time to time."""
    views = base._views
    views.append(_reference(t))
    if not len(views) % _PURGE_EVERY:
        base._views = [r for r in views if r() is not None]


def join(t: Any, x: Any, steps: tuple[Step, ...]) -> None:
    """Make `t`, the result of `steps` on `x`, a member of the alias group of `x`."""
    view = x._view
    base, chain, root, root_chain = (x, (), x, ()) if view is None else view
    if root is None:
        root, root_chain = x, ()
    t._view = (base, chain + steps, root, root_chain + steps)
    if base._views is None:
        base._views = []
    _register(base, t)
    if x._node is not None and modes.off_threads and not modes.is_grad_enabled():
        attach_untracked(t)


def attach_untracked(t: Any) -> None:
    """Make a view a root of its own: it shares memory, and the tape does not follow it."""
    base, steps, _, _ = t._view
    t._view = (base, steps, None, ())


def tracked(t: Any) -> bool:
    """Whether the tape follows a view through in-place writes to the tensor it is a view of."""
    return t._view[2] is not None


def root_of(t: Any) -> Any:
    """Return the tensor whose history a write to `t` changes: `t` itself unless it is a view."""
    view = t._view
    return t if view is None or view[2] is None else view[2]


def live_views(base: Any) -> Iterator[Any]:
    """Yield the live views of a base tensor."""
    for reference in base._views or ():
        t = reference()
        if t is not None and t._view is not None and t._view[0] is base:
            yield t


def replay(F: Any, value: Any, steps: Sequence[Step]) -> Any:
    """Apply a chain of view ops to a value, in the world `F`."""
    for op, data, params in steps:
        if op.chain is not None:
            value = replay(F, value, op.chain(tuple(value.shape), **params))
        else:
            value = getattr(F, op.name if F.of_tensors else op.kernel)(value, *data, **params)
    return value


def put_back(F: Any, base: Any, steps: Sequence[Step], new: Any) -> Any:
    """Return `base` with `new` stored where the chain of view ops reads, in the world `F`."""
    values = [base]
    for step in steps[:-1]:
        values.append(replay(F, values[-1], (step,)))
    for (op, data, params), value in zip(reversed(steps), reversed(values), strict=True):
        assert op.view is not None
        new = op.view(F, value, new, *data, **params)
    return new


def _copy_slices_base(F: Any, g: Any, steps: Any, src_shape: Any) -> Any:
    return put_back(F, g, steps, F.new_zeros(g, shape=src_shape))


copy_slices = Op("copy_slices", "base src", node="CopySlicesBackward", opaque=True)
copy_slices.node_name = "CopySlices"
copy_slices.vjp(base=_copy_slices_base, src=lambda F, g, steps: replay(F, g, steps))


def world_of(x: Any) -> Any:
    """Return the world in which a tensor's raw array is computed with."""
    return world_for(x._dev)
