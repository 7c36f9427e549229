"""The hot path: functions that apply an op, specialised by its number of operands.

They handle what nearly every call is: tensors of one dtype on one device, or a tensor and a Python
number. Whatever they do not know, an error included, is left to `apply_general`, which checks
everything and says what is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from multitorch.autograd import modes
from multitorch.autograd.tape import LEAF, USER_FILES, Node, next_seq, user_place
from multitorch.backend.registry import ARRAY_TYPES
from multitorch.dtypes import bool_, from_numpy_dtype
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import apply_general, make_saver, put_node, wrap
from multitorch.ops.op import Op

_new: Callable = object.__new__
_getframe = sys._getframe


def make_apply(op: Op) -> Callable:
    """Return the function that applies `op`, specialised by its number of operands."""
    count = len(op.args)
    if len(op.outs) > 1 or op.variadic or count > 3:
        return _several(op)
    if count == 3 and op.args[1] not in op.keep:
        return _ternary(op)
    if op.keep and op.promote is not None:
        return _several(op)
    simple = op.joint is None and all(kind in ("arg", "out") for kind, _ in op.plan)
    if op.promote is None or not simple:
        return _unary_with_params(op) if count == 1 else _binary_with_params(op)
    return _unary(op) if count == 1 else _binary(op)


def _several(op: Op) -> Callable:
    """Any number of operands: tensors of one device (and dtype, where the op promotes)."""
    kernels, hidden, diff_outs = op.kernels, op.hidden, op.diff_outs
    fast = None if op.promote is None else op.promote.fast
    checks = [fast is not None and name not in op.keep for name in op.args]
    count = len(checks)
    metas = op.broadcasts

    def function(*args: Any, out: Any = None, **params: Any) -> Any:
        if dispatch.capturing or out is not None:
            return apply_general(op, args, params, out)
        dev = dtype = None
        recorded = False
        raws = []
        more = len(args) - count
        flags = checks if more <= 0 else checks + checks[-1:] * more
        for t, check in zip(args, flags, strict=False):
            if isinstance(t, dispatch.Tensor):
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
            put_node(op, args, raws, params, outs, dev, metas)
        return final

    function.__name__ = function.__qualname__ = op.name
    return function


def _unary(op: Op) -> Callable:
    promote = op.promote
    assert promote is not None
    kernels, fast, out_bool = op.kernels, promote.fast, promote.out_bool
    saves_x, saves_out, both = "x" in op.saves, "out" in op.saves, len(op.saves) == 2
    x_first = op.saves[:1] == ("x",)
    records = bool(op.diff_outs)

    def function(input: Any, *, out: Any = None) -> Any:
        x = input
        if dispatch.capturing or out is not None:
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
        t = _new(dispatch.Tensor)
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
        if dispatch.capturing or out is not None:
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
        t = _new(dispatch.Tensor)
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
    fast = None if op.promote is None else op.promote.fast

    def function(input: Any, *, out: Any = None, **params: Any) -> Any:
        x = input
        if dispatch.capturing or out is not None:
            return apply_general(op, (x,), params, out)
        try:
            if fast is not None and x._dtype not in fast:
                return apply_general(op, (x,), params)
            dev = x._dev
            xa = x._a
            a = kernels[dev](xa, **params)
        except Exception:
            return apply_general(op, (x,), params)
        if a.__class__ not in ARRAY_TYPES:
            a = dev.backend.as_array(a)
        t = _new(dispatch.Tensor)
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
            saved = (op.saver or make_saver(op))((xa,), params, (a,))
            t._node = _node(op, dev, (x if node is LEAF else node,), saved)
        else:
            t._node = None
        return t

    function.__name__ = function.__qualname__ = op.name
    return function


def _binary_with_params(op: Op) -> Callable:
    """Two tensors of one device (and dtype, where the op promotes), such as data and an index."""
    kernels, records = op.kernels, bool(op.diff_outs)
    fast = None if op.promote is None else op.promote.fast
    metas = op.broadcasts

    def function(input: Any, other: Any, *, out: Any = None, **params: Any) -> Any:
        x = input
        y = other
        if dispatch.capturing or out is not None:
            return apply_general(op, (x, y), params, out)
        try:
            dev = x._dev
            if y._dev is not dev:
                return apply_general(op, (x, y), params)
            if fast is not None and (x._dtype is not y._dtype or x._dtype not in fast):
                return apply_general(op, (x, y), params)
            xa = x._a
            ya = y._a
            a = kernels[dev](xa, ya, **params)
        except Exception:
            return apply_general(op, (x, y), params)
        if a.__class__ not in ARRAY_TYPES:
            a = dev.backend.as_array(a)
        t = _new(dispatch.Tensor)
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
            n = t._node = _node(op, dev, (_edge(x), _edge(y)), saved)
            if metas:
                n.meta = (_meta(x), _meta(y))
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
    metas = op.broadcasts
    out_bool = op.promote is not None and op.promote.out_bool

    def function(
        input: Any, other: Any, third_operand: Any = None, *, out: Any = None, **params: Any
    ) -> Any:
        x = input
        y = other
        z = third_operand
        if dispatch.capturing or out is not None:
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
        t = _new(dispatch.Tensor)
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
