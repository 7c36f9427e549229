"""Ops beside Python numbers: a thin path for clamp, lerp and addcmul; and ops that take none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch.ops import apply as dispatch
from multitorch.ops.apply import apply_general, record, wrap
from multitorch.ops.docs import LINES
from multitorch.ops.op import Op


def with_numbers(function: Callable, count: int) -> Callable:
    """Return the form of an op's function that is thin for `count` tensors and then numbers.

    Whatever is not a float tensor of one dtype and device, or a plain number, goes to
    `apply_general`, which converts it or says what is wrong.
    """
    op: Op = function.op  # type: ignore[attr-defined]
    assert op.promote is not None
    kernels, fast = op.kernels, op.promote.fast_float

    def apply(*args: Any, out: Any = None) -> Any:
        first = args[0]
        try:
            dtype, dev = first._dtype, first._dev
            if dispatch.capturing or out is not None or dtype not in fast:
                return apply_general(op, args, {}, out)
            raws = [first._a]
            for t in args[1:count]:
                if t._dtype is not dtype or t._dev is not dev:
                    return apply_general(op, args, {})
                raws.append(t._a)
            for value in args[count:]:
                kind = value.__class__
                if kind is int:
                    value = float(value)
                elif kind is not float and value is not None:
                    return apply_general(op, args, {})
                raws.append(value)
            a = kernels[dev](*raws)
        except Exception:
            return apply_general(op, args, {}, out)
        t = wrap(a, dev)
        record(op, args, raws, {}, (t,), dev)
        return t

    apply.__name__ = apply.__qualname__ = op.name
    apply.op = op  # type: ignore[attr-defined]
    op.apply = apply
    return apply


def tensors_only(name: str, function: Callable) -> Callable:
    """Return a binary function that refuses numbers, as PyTorch does."""

    def checked(input: Any, other: Any, *, out: Any = None) -> Any:
        if input.__class__ in (int, float, complex, bool):
            raise TypeError(
                f"{name}(): argument 'input' (position 1) must be Tensor, not "
                f"{type(input).__name__}"
            )
        if other.__class__ in (int, float, complex, bool):
            raise TypeError(
                f"{name}(): argument 'other' (position 2) must be Tensor, not "
                f"{type(other).__name__}"
            )
        return function(input, other) if out is None else function(input, other, out=out)

    checked.__name__ = checked.__qualname__ = name
    checked.__doc__ = LINES[name]
    return checked
