"""Whether a tensor that is to be written shares memory with an operand."""

from __future__ import annotations

from math import prod
from typing import Any

_REFUSED = (
    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
    "single memory location. Please clone() the tensor before performing the operation."
)
REPEATED = (
    "unsupported operation: more than one element of the written-to tensor refers to a single "
    "memory location. Please clone() the tensor before performing the operation."
)


def repeats(x: Any) -> bool:
    """Whether several elements of a tensor are one in memory."""
    view = x._view
    if view is None or not any(op.name in ("expand", "as_strided") for op, _, _ in view[1]):
        return False
    return any(stride == 0 and n > 1 for stride, n in zip(x.stride(), x.shape, strict=True))


def refuse_overlap(out: Any, operands: tuple, shape: Any = None, same: bool = False) -> None:
    """Raise PyTorch's error if `out`, resized to `shape`, shares elements with an operand.

    With `same` it may be an operand as a whole, as it may of pointwise ops: `add(x, y, out=x)`.
    """
    if not same and repeats(out):
        raise RuntimeError(REPEATED)
    base = _base(out)
    for t in operands:
        if hasattr(t, "_view") and _base(t) is base and _overlap(out, t, shape, same):
            raise RuntimeError(_REFUSED)


def _base(t: Any) -> Any:
    return t if t._view is None else t._view[0]


def _overlap(out: Any, t: Any, shape: Any, same: bool) -> bool:
    if t is out:
        return not same
    resized = shape is not None and shape != out.shape
    count = prod(shape or ()) if resized else out.numel()
    if not count or not t.numel():
        return False
    mine, other = out._layout(), t._layout()
    if not resized and mine == other and out.shape == t.shape:
        return not same
    if not (resized or _dense(out, mine[0])) or not _dense(t, other[0]):
        return False  # whether they share elements is too hard to tell, for PyTorch as well
    wide, narrow = out._dtype.itemsize, t._dtype.itemsize
    first, second = mine[1] * wide, other[1] * narrow
    return first < second + t.numel() * narrow and second < first + count * wide


def _dense(t: Any, strides: tuple[int, ...]) -> bool:
    """Whether the elements fill a piece of memory, in any order of dimensions."""
    pairs = sorted((s, n) for s, n in zip(strides, t.shape, strict=True) if n != 1)
    return all(s == prod([m for _, m in pairs[:i]]) for i, (s, _) in enumerate(pairs))
