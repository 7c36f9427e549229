"""Sums of products named by subscripts: `einsum` and `tensordot`.

Two operands at a time are brought to the form (batch, left, summed) × (batch, summed, right) and
multiplied as matrices; views and products carry the gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from multitorch.ops import apply as dispatch
from multitorch.ops.apply import write_out

Tensor = Any
Labels = tuple[int, ...]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DOTS = -1  # the place of an ellipsis among labels; labels below are its dimensions


def einsum(*args: Any) -> Tensor:
    """Return the sum of products that an equation describes.

    >>> import multitorch as torch
    >>> torch.einsum("ij,jk->ik", torch.ones(2, 3), torch.ones(3, 2))
    tensor([[3., 3.],
            [3., 3.]])
    """
    inputs, output, operands = _read(args)
    if len(inputs) != len(operands):
        word = "fewer" if len(operands) < len(inputs) else "more"
        raise RuntimeError(
            f"einsum(): {word} operands were provided than specified in the equation"
        )
    dots = max(_dots_of(labels, t, i) for i, (labels, t) in enumerate(zip(inputs, operands)))
    named = [_named(labels, t) for labels, t in zip(inputs, operands)]
    wanted = _output(output, inputs, named, dots)
    terms = [_diagonals(labels, t, i) for i, (labels, t) in enumerate(zip(named, operands))]
    sizes = _sizes(terms)
    terms = [_drop_ones(labels, t, sizes) for labels, t in terms]
    labels, result = terms[0]
    for k, (more, t) in enumerate(terms[1:], 1):
        later = set(wanted).union(*(other for other, _ in terms[k + 1 :]))
        labels, result = _contract(labels, result, more, t, later)
    return _finish(labels, result, wanted, sizes)


def _read(args: tuple) -> tuple[list[Labels], Labels | None, list]:
    """Return the labels of the operands, those of the output if given, and the operands."""
    if not args:
        raise _nothing()
    if isinstance(args[0], str):
        operands = list(args[1:])
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = list(operands[0])
        if not operands:
            raise _nothing()
        left, arrow, right = args[0].partition("->")
        inputs = [_letters(part) for part in left.split(",")]
        return inputs, _letters(right) if arrow else None, operands
    if len(args) < 2:
        raise _nothing()
    output = _numbers(args[-1]) if len(args) % 2 else None
    pairs = args[: len(args) // 2 * 2]
    return [_numbers(s) for s in pairs[1::2]], output, list(pairs[::2])


def _nothing() -> ValueError:
    return ValueError(
        "einsum(): must specify the equation string and at least one operand, or at least one "
        "operand and its subscripts list"
    )


def _letters(text: str) -> Labels:
    labels: list[int] = []
    i = 0
    while i < len(text):
        if text[i] == " ":
            i += 1
        elif text.startswith("...", i):
            if _DOTS in labels:
                raise RuntimeError("einsum(): found more than one ellipsis ('...')")
            labels.append(_DOTS)
            i += 3
        elif text[i] in _LETTERS:
            labels.append(_LETTERS.index(text[i]))
            i += 1
        elif text[i] == ".":
            raise RuntimeError("einsum(): found '.' that is not part of any ellipsis")
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {i} in the equation string, "
                "subscripts must be in [a-zA-Z]"
            )
    return tuple(labels)


def _numbers(subscripts: Sequence[Any]) -> Labels:
    labels = tuple([_DOTS if s is ... else int(s) for s in subscripts])
    if any(s is not ... and not 0 <= n < 52 for s, n in zip(subscripts, labels)):
        raise RuntimeError("einsum(): not within the valid range [0, 52)")
    return labels


def _dots_of(labels: Labels, t: Tensor, i: int) -> int:
    """Return how many dimensions an operand's ellipsis stands for."""
    named = sum(1 for label in labels if label != _DOTS)
    if t.ndim < named or (t.ndim > named and _DOTS not in labels):
        more = "" if _DOTS in labels else " and no ellipsis was given"
        raise RuntimeError(
            f"einsum(): the number of subscripts in the equation ({named}) does not match the "
            f"number of dimensions ({t.ndim}) for operand {i}{more}"
        )
    return t.ndim - named


def _ellipsis(count: int) -> Labels:
    """Return the labels of an ellipsis's dimensions; they align at the end."""
    return tuple(range(-1 - count, -1))


def _named(labels: Labels, t: Tensor) -> Labels:
    if _DOTS not in labels:
        return labels
    at = labels.index(_DOTS)
    return labels[:at] + _ellipsis(t.ndim - len(labels) + 1) + labels[at + 1 :]


def _output(output: Labels | None, inputs: list, named: list[Labels], dots: int) -> Labels:
    if output is None:
        every = [label for labels in inputs for label in labels if label != _DOTS]
        once = sorted(label for label in set(every) if every.count(label) == 1)
        return _ellipsis(dots) + tuple(once)
    known = set().union(*named)
    for label in output:
        if label != _DOTS and output.count(label) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {_LETTERS[label]} appears more than once in the output"
            )
        if label != _DOTS and label not in known:
            raise RuntimeError(
                f"einsum(): output subscript {_LETTERS[label]} does not appear in the equation for "
                "any input operand"
            )
    return tuple([n for label in output for n in (_ellipsis(dots) if label == _DOTS else (label,))])


def _sizes(terms: list[tuple[Labels, Tensor]]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for i, (labels, t) in enumerate(terms):
        for label, n in zip(labels, t.shape):
            held = sizes.get(label, 1)
            if held != 1 and n not in (1, held):
                raise RuntimeError(
                    f"einsum(): subscript {_LETTERS[label] if label >= 0 else '...'} has size {n} "
                    f"for operand {i} which does not broadcast with previously seen size {held}"
                )
            sizes[label] = n if held == 1 else held
    return sizes


def _diagonals(labels: Labels, t: Tensor, i: int) -> tuple[Labels, Tensor]:
    """Take the diagonal where a label repeats within an operand."""
    while len(set(labels)) < len(labels):
        label = next(s for s in labels if labels.count(s) > 1)
        a = labels.index(label)
        b = labels.index(label, a + 1)
        if t.shape[a] != t.shape[b]:
            raise RuntimeError(
                f"einsum(): subscript {_LETTERS[label]} is repeated for operand {i} but the sizes "
                f"don't match, {t.shape[b]} != {t.shape[a]}"
            )
        t = t.diagonal(0, a, b)
        labels = tuple([s for k, s in enumerate(labels) if k not in (a, b)]) + (label,)
    return labels, t


def _drop_ones(labels: Labels, t: Tensor, sizes: dict[int, int]) -> tuple[Labels, Tensor]:
    """Remove dimensions of size 1 that broadcast."""
    gone = [k for k, label in enumerate(labels) if t.shape[k] == 1 and sizes[label] != 1]
    for k in reversed(gone):
        t = t.squeeze(k)
    return tuple([label for k, label in enumerate(labels) if k not in gone]), t


def _sum_out(labels: Labels, t: Tensor, keep: set[int]) -> tuple[Labels, Tensor]:
    gone = [k for k, label in enumerate(labels) if label not in keep]
    if gone:
        t = t.sum(gone)
    return tuple([label for label in labels if label in keep]), t


def _arranged(labels: Labels, t: Tensor, *groups: list[int]) -> Tensor:
    """Return the operand with one dimension for each group of labels."""
    order = [labels.index(label) for group in groups for label in group]
    shape = [prod(t.shape[labels.index(label)] for label in group) for group in groups]
    if order != list(range(len(order))):
        t = t.permute(order)
    return t.reshape(shape)


def _contract(
    left: Labels, x: Tensor, right: Labels, y: Tensor, later: set[int]
) -> tuple[Labels, Tensor]:
    """Multiply two operands, summing over the labels that nothing later needs."""
    left, x = _sum_out(left, x, later | set(right))
    right, y = _sum_out(right, y, later | set(left))
    shared = [s for s in left if s in right]
    batch = [s for s in shared if s in later]
    summed = [s for s in shared if s not in later]
    a, b = [s for s in left if s not in right], [s for s in right if s not in left]
    size = {**dict(zip(left, x.shape)), **dict(zip(right, y.shape))}
    labels = (*batch, *a, *b)
    shape = [size[s] for s in labels]
    if not summed:
        x = _arranged(left, x, batch, a, [])
        return labels, (x * _arranged(right, y, batch, [], b)).reshape(shape)
    if batch:
        product = _arranged(left, x, batch, a, summed) @ _arranged(right, y, batch, summed, b)
    else:
        product = _arranged(left, x, a, summed) @ _arranged(right, y, summed, b)
    return labels, product.reshape(shape)


def _finish(labels: Labels, t: Tensor, wanted: Labels, sizes: dict[int, int]) -> Tensor:
    labels, t = _sum_out(labels, t, set(wanted))
    missing = [s for s in wanted if s not in labels]
    for s in missing:  # broadcast everywhere it appeared: an ellipsis of size 1
        t = t.unsqueeze(0)
        labels = (s, *labels)
    order = [labels.index(s) for s in wanted]
    return t if order == list(range(len(order))) else t.permute(order)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Return the sum of products over `dims`: a number of last and first dimensions, or two lists.

    >>> import multitorch as torch
    >>> torch.tensordot(torch.ones(2, 3), torch.ones(3, 4), 1).shape
    torch.Size([2, 4])
    """
    if isinstance(dims, dispatch.Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        first, second = list(range(-dims, 0)), list(range(dims))
    else:
        first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
    result = _tensordot(a, b, first, second)
    return result if out is None else write_out(out, result)


def _tensordot(a: Tensor, b: Tensor, first: list[int], second: list[int]) -> Tensor:
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    for i, j in zip(first, second):
        if a.shape[i] == 1 != b.shape[j]:
            b = b.sum(j, keepdim=True, dtype=b._dtype)
        elif b.shape[j] == 1 != a.shape[i]:
            a = a.sum(i, keepdim=True, dtype=a._dtype)
        if a.shape[i] != b.shape[j]:
            raise RuntimeError(
                "contracted dimensions need to match, but first has size "
                f"{a.shape[i]} in dim {i} and second has size {b.shape[j]} in dim {j}"
            )
    names = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for i, j in zip(first, second):
        names[1][j] = names[0][i]
    shared = set(names[0]) & set(names[1])
    wanted = [s for s in (*names[0], *names[1]) if s not in shared]
    left, right = tuple(names[0]), tuple(names[1])
    summed = [names[0][i] for i in first]
    x = _arranged(left, a, [s for s in left if s not in shared], summed)
    y = _arranged(right, b, summed, [s for s in right if s not in shared])
    size = {**dict(zip(left, a.shape)), **dict(zip(right, b.shape))}
    return (x @ y).reshape([size[s] for s in wanted])
