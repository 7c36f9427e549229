"""Sizes and strides as numbers: what shapes an argument means, and which ones share memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any


def sizes_of(name: str, args: tuple) -> tuple[int, ...]:
    """Return the sizes in `f(2, 3)`, `f((2, 3))` or `f(torch.Size((2, 3)))` as a tuple of ints."""
    if len(args) == 1:
        first = args[0]
        if first.__class__ is int:
            return args
        if first.__class__ is tuple:
            args = first
        elif hasattr(first, "__iter__") and getattr(first, "ndim", 1):
            args = tuple(first)
    for n in args:
        if n.__class__ is not int:
            return _as_ints(name, args)
    return args


def _as_ints(name: str, args: tuple) -> tuple[int, ...]:
    try:
        return tuple([n.__index__() for n in args])
    except (AttributeError, TypeError):
        kinds = ", ".join(type(n).__name__ for n in args)
        raise TypeError(
            f"{name}(): argument 'size' must be tuple of ints, but found element of type {kinds}"
        ) from None


def infer_sizes(shape: tuple[int, ...], a: Any) -> tuple[int, ...]:
    """Return `shape` with its -1 replaced so that it holds as many elements as the array `a`."""
    numel = prod(a.shape)
    if prod(shape) == numel and (not shape or min(shape) >= 0):
        return shape
    if shape and min(shape) < -1:
        raise RuntimeError(f"invalid shape dimension {min(shape)}")
    if -1 not in shape:
        raise _misfit(shape, numel)
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    known = -prod(shape)
    if known == 0 and not numel:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
            "unspecified dimension size -1 can be any value and is ambiguous"
        )
    if known == 0 or numel % known:
        raise _misfit(shape, numel)
    return tuple([numel // known if n == -1 else n for n in shape])


def _misfit(shape: tuple[int, ...], numel: int) -> RuntimeError:
    return RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")


def broadcast_sizes(old: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes that `expand(*new)` gives a tensor of sizes `old`; -1 keeps a size."""
    missing = len(new) - len(old)
    if missing < 0:
        raise RuntimeError(
            f"expand(torch.Tensor{{{list(old)}}}, size={list(new)}): the number of sizes provided "
            f"({len(new)}) must be greater or equal to the number of dimensions in the tensor "
            f"({len(old)})"
        )
    if new[missing:] == old and (not missing or min(new) >= 0):
        return new
    out = []
    for d, n in enumerate(new):
        held = old[d - missing] if d >= missing else 1
        if n == -1:
            if d < missing:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, "
                    f"non-existing dimension {d}"
                )
            n = held
        elif n != held and held != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({held}) at "
                f"non-singleton dimension {d}.  Target sizes: {list(new)}.  Tensor sizes: "
                f"{list(old)}"
            )
        elif n < 0:
            raise RuntimeError(f"expand: the requested shape has a negative size {n}")
        out.append(n)
    return tuple(out)


def view_strides(
    shape: Sequence[int], strides: Sequence[int], target: Sequence[int]
) -> tuple[int, ...] | None:
    """Return the strides that let the same memory be read with the sizes `target`, or None.

    Neighbouring dimensions that lie in memory as one (`strides[d] == shape[d+1] * strides[d+1]`)
    form a run; a target fits if its dimensions divide up the runs one after another.

    >>> view_strides((2, 3), (3, 1), (6,)), view_strides((3, 2), (1, 3), (6,))
    ((1,), None)
    """
    if prod(shape) == 0:
        return tuple(strides) if tuple(shape) == tuple(target) else (1,) * len(target)
    runs: list[list[int]] = []  # [elements, stride of the innermost]
    for n, s in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * s:
            runs[-1] = [runs[-1][0] * n, s]
        else:
            runs.append([n, s])
    found = [1] * len(target)
    d = len(target) - 1
    for size, stride in reversed(runs):
        inner = 1
        while d >= 0 and (inner < size or target[d] == 1):
            found[d] = inner * stride
            inner *= target[d]
            d -= 1
        if inner != size:
            return None
    return tuple(found)
