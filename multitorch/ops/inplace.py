"""In-place writes: values, alias groups, history and the log, in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from multitorch.autograd import modes, tape
from multitorch.autograd.tape import LEAF, Node, log_write, next_seq, user_place
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import record, wants_grad, world_for, wrap
from multitorch.ops.overlap import REPEATED, repeats
from multitorch.ops.view import copy_slices, live_views, put_back, replay, root_of
from multitorch.promotion import can_cast

_getframe = sys._getframe


def check_writable(x: Any) -> None:
    """Raise PyTorch's errors for a write that autograd or memory forbids."""
    if not modes.off_threads or modes.is_grad_enabled():
        if x._node is LEAF:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        if root_of(x)._node is LEAF:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )
    if x._view is not None and repeats(x):
        raise RuntimeError(REPEATED)


def make_inplace(function: Callable, name: str) -> Callable:
    """Return the in-place form of an out-of-place op function: `x.name(...)` overwrites `x`."""
    op = getattr(function, "op", None)
    ufuncs: dict[Any, Callable | None] = {}
    saves_input = op is None or bool(op.args and op.args[0] in op.saves)

    def method(x: Any, *args: Any, **kwargs: Any) -> Any:
        if op is not None and not kwargs and x._node is None and not dispatch.capturing:
            if x._view is not None:
                check_writable(x)
            if len(args) <= 1 and _write_fast(op, ufuncs, x, args):
                return x
        return write_result(x, function, args, kwargs, saves_input)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Apply `{name.rstrip('_').removeprefix('__i')}` to the tensor itself."
    method.__wrapped__ = function  # type: ignore[attr-defined] (what `help` shows)
    return method


def _write_fast(op: Any, ufuncs: dict, x: Any, args: tuple) -> bool:
    """Overwrite `x` by a kernel that stores in place, where the tape has no part in it."""
    try:
        kernel = ufuncs[x._dev]
    except KeyError:
        kernel = ufuncs[x._dev] = x._dev.backend.inplace_kernel(op.kernel)
    if kernel is None:
        return False
    promote = op.promote
    xa, dtype = x._a, x._dtype
    if x._view is not None and x._dev.backend.has_overlap(xa):
        return False
    try:
        if args:
            y = args[0]
            kind = y.__class__
            if kind is float or kind is int:
                if dtype not in (promote.fast_float if kind is float else promote.fast_int):
                    return False
                kernel(xa, y, out=xa)
            elif y._dtype is dtype and y._dev is x._dev and dtype in promote.fast:
                if y._node is not None and (not modes.off_threads or modes.is_grad_enabled()):
                    return False
                kernel(xa, y._a, out=xa)
            else:
                return False
        elif dtype in promote.fast:
            kernel(xa, out=xa)
        else:
            return False
    except Exception:
        return False
    log_write(x._dev._backend.buffer(xa), user_place(_getframe(2)))
    return True


def _apart_from(x: Any, t: Any) -> Any:
    """Return an operand, copied if it shares memory with the tensor to be written."""
    if not isinstance(t, dispatch.Tensor) or t._dev is not x._dev:
        return t
    buffer = x._dev.backend.buffer
    return t.clone() if buffer(t._a) is buffer(x._a) else t


def write_result(
    x: Any, function: Callable, args: tuple, kwargs: dict, saves_input: bool = True
) -> Any:
    """Compute `function(x, ...)` and store the result in `x`."""
    check_writable(x)
    operand, since = x, next_seq()
    world = world_for(x._dev)
    # the nodes of a composite are older than the write, even where that makes a new array
    composite = getattr(function, "op", None) is None and not world.records
    if (world.mutable or composite) and wants_grad((x, *args, *kwargs.values())):
        # the rules need the values from before the write
        args = tuple([_apart_from(x, t) for t in args])
        if saves_input:
            operand = wrap(x._dev.backend.copy(x._a), x._dev)
            operand._node = x._node
    result = function(operand, *args, **kwargs)
    if not can_cast(result._dtype, x._dtype):
        raise RuntimeError(
            f"result type {result._dtype.scalar_name} can't be cast to the desired output type "
            f"{x._dtype.scalar_name}"
        )
    if result.shape != x.shape:
        raise RuntimeError(
            f"output with shape {list(x.shape)} doesn't match the broadcast shape "
            f"{list(result.shape)}"
        )
    return commit(x, result, since)


def commit(x: Any, result: Any, since: int | None = None) -> Any:
    """Give `x` the value and history of `result`, which has its shape; update its alias group."""
    if result._dtype is not x._dtype:
        result = dispatch.Tensor.to(result, x._dtype)
    dev = x._dev
    world = world_for(dev)
    node = result._node
    raw = dispatch.raw_of(result, dev, world)
    if world.mutable:
        buffer = world.buffer(x._a)
        x._a = world.write(x._a, raw)
        log_write(buffer)
    else:
        _store_value(world, x, raw, since)
    if node.__class__ is Node and node.saved is not None:
        # what this call saved is the state after the write: the node is younger than the write
        node.seq = next_seq()
        node.saved = tuple([x._a if s is raw else s for s in node.saved])
    if not modes.off_threads or modes.is_grad_enabled():
        _store_history(x, result)
    return x


def _store_value(world: Any, x: Any, raw: Any, since: int | None) -> None:
    """Store into an immutable group: the base first, then every other live view."""
    base = x if x._view is None else x._view[0]
    held = dispatch.raw_of(base, base._dev, world)
    log_write(held, since=since)
    if x._view is None:
        base._a = raw
    else:
        steps = x._view[1]
        base._a = put_back(world, held, steps, world.cast(raw, dtype=x._dtype.numpy()))
    for t in live_views(base):
        if t is not x:
            log_write(dispatch.raw_of(t, t._dev, world), since=since)
            t._a = replay(world, base._a, t._view[1])
    if x is not base:
        log_write(dispatch.raw_of(x, x._dev, world), since=since)
        x._a = raw


def _store_history(x: Any, result: Any) -> None:
    root = root_of(x)
    if root is x:
        x._node = result._node
    elif root._node is None and result._node is None:
        return
    else:
        raws, params = (root._a, result._a), {"steps": x._view[3]}
        record(copy_slices, (root, result), raws, params, (root,), root._dev)
    base = x if x._view is None else x._view[0]
    if base._views is None:
        return
    world = tape.Engine.tensor_world
    for t in live_views(base):
        if t._view[2] is root:
            t._node = None if root._node is None else replay(world, root, t._view[3])._node
