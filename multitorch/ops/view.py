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
from collections.abc import Callable, Iterator
from typing import Any

from multitorch.autograd import modes
from multitorch.autograd.tape import LEAF, Node, next_seq, user_place
from multitorch.backend.registry import ARRAY_TYPES
from multitorch.dtypes import from_numpy_dtype
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import apply_general, make_saver, world_for
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


def attach(t: Any, x: Any, *steps: Step) -> None:
    """Make `t`, the result of `steps` on `x`, a member of the alias group of `x`."""
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
    else:
        views.append(_reference(t))
        if not len(views) % _PURGE_EVERY:
            base._views = [r for r in views if r() is not None]


_NO_PARAMS: dict[str, Any] = {}


def apply_view(op: Op, x: Any, data: tuple = (), params: dict[str, Any] = _NO_PARAMS) -> Any:
    """Apply a view op: the result aliases `x`. `data` are integers, data to the kernel too."""
    if dispatch.capturing:
        t = apply_general(op, (x, *data), params)
        node = x._node
    else:
        dev = x._dev
        xa = x._a
        kernel = op.kernels[dev]
        a = kernel(xa, *data, **params) if data else kernel(xa, **params)
        if a.__class__ not in ARRAY_TYPES:
            a = dev.backend.as_array(a)
        t = _new(dispatch.Tensor)
        t._a = a
        t._dev = dev
        t._dtype = x._dtype if a.dtype is xa.dtype else from_numpy_dtype[a.dtype]
        node = t._node = x._node
        if node is not None:
            if op.diff_outs and (not modes.off_threads or modes.is_grad_enabled()):
                _put_node(op, x, data, params, t)
            else:
                t._node = None
    attach(t, x, (op, data, params))
    if node is not None and modes.off_threads and not modes.is_grad_enabled():
        # made under no_grad: it shares the value, and the tape never follows it
        attach_untracked(t)
    return t


def _put_node(op: Op, x: Any, data: tuple, params: dict[str, Any], t: Any) -> None:
    node = x._node
    n = t._node = _new(Node)
    n.op = op
    n.dev = x._dev
    edge = x if node is LEAF else node
    n.edges = (edge, *[None] * len(data)) if data else (edge,)
    n.saved = (op.saver or make_saver(op))((x._a, *data), params, (t._a,))
    n.meta = n.extra = None
    n.seq = next_seq()
    n.where = user_place(_getframe(3))


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


def replay(F: Any, value: Any, steps: tuple[Step, ...]) -> Any:
    """Apply a chain of view ops to a value, in the world `F`."""
    for op, data, params in steps:
        value = getattr(F, op.name if F.of_tensors else op.kernel)(value, *data, **params)
    return value


def put_back(F: Any, base: Any, steps: tuple[Step, ...], new: Any) -> Any:
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
