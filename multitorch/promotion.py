"""Type promotion: the dtype in which operands of different dtypes meet.

PyTorch's rule: the operands fall into three classes (tensors with dimensions, zero-dim tensors,
Python numbers). Inside a class dtypes are promoted as on a lattice; a lower class raises a higher
one only if its category (bool, integer, float, complex) is higher.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import (
    BOOL,
    FLOAT,
    INTEGER,
    bool_,
    dtype,
    dtype_argument,
    float32,
    float64,
    int16,
    int64,
    uint16,
    uint32,
    uint64,
)

DIMENSIONED, ZERO_DIM, NUMBER = range(3)
Operand = tuple[dtype, int]

_UNPROMOTABLE_UNSIGNED = frozenset((uint16, uint32, uint64))
_pairs: dict[tuple[dtype, dtype], dtype] = {}
_results: dict[tuple[Any, ...], dtype] = {}


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """Return the smallest dtype that holds both.

    >>> promote_types(dtypes.int32, dtypes.float16), promote_types(dtypes.uint8, dtypes.int8)
    (torch.float16, torch.int16)
    """
    try:
        return _pairs[type1, type2]
    except (KeyError, TypeError):
        pass
    a = dtype_argument("promote_types", "type1", 1, type1)
    b = dtype_argument("promote_types", "type2", 2, type2)
    return _pairs.setdefault((a, b), _promote(a, b))


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    _refuse_unpromotable(a, b)
    if a.is_complex or b.is_complex:
        parts = [d.to_real() for d in (a, b) if d.inexact]
        return _widest(parts).to_complex()
    return _widest([a, b])


def _refuse_unpromotable(a: dtype, b: dtype) -> None:
    for d, other in ((a, b), (b, a)):
        if d.is_floating_point and d.itemsize == 1:
            family = "Float8 Types"
        elif d in _UNPROMOTABLE_UNSIGNED and not other.is_floating_point:
            family = "uint16, uint32, uint64 types"
        else:
            continue
        raise RuntimeError(
            f"Promotion for {family} is not supported, "
            f"attempted to promote {a.scalar_name} and {b.scalar_name}"
        )


def _widest(real: Iterable[dtype]) -> dtype:
    first, *rest = sorted(set(real), key=lambda d: (d.category, d.itemsize), reverse=True)
    for d in rest:
        if (d.category, d.itemsize) == (first.category, first.itemsize):
            # uint8 with int8, or float16 with bfloat16: neither holds the other
            return int16 if d.category == INTEGER else float32
    return first


def can_cast(from_: dtype, to: dtype) -> bool:
    """Say whether ``from_`` may become ``to`` without falling to a lower category.

    >>> can_cast(float64, float32), can_cast(float32, int64)
    (True, False)
    """
    source = dtype_argument("can_cast", "from_", 1, from_)
    return source.category <= dtype_argument("can_cast", "to", 2, to).category


def result_dtype(operands: Sequence[Operand]) -> dtype:
    """Return the dtype of an operation on operands given as (dtype, class) pairs.

    The classes are ``DIMENSIONED``, ``ZERO_DIM`` and ``NUMBER``; a Python float or complex counts
    as the default dtype, whatever its own.

    >>> result_dtype([(dtypes.float16, DIMENSIONED), (float32, ZERO_DIM), (float64, NUMBER)])
    torch.float16
    """
    key = (dtypes._default, *operands)
    try:
        return _results[key]
    except KeyError:
        return _results.setdefault(key, _result(operands))


def _result(operands: Sequence[Operand]) -> dtype:
    found: list[dtype | None] = [None, None, None]
    for d, kind in operands:
        if kind == NUMBER:
            d = _number_dtype(d)
        held = found[kind]
        found[kind] = d if held is None else promote_types(held, d)
    out = _raise_category(found[DIMENSIONED], _raise_category(found[ZERO_DIM], found[NUMBER]))
    if out is None:
        raise ValueError("result_dtype() needs at least one operand")
    return out


def _number_dtype(d: dtype) -> dtype:
    if d.is_complex:
        return dtypes.get_default_dtype().to_complex()
    if d.is_floating_point:
        return dtypes.get_default_dtype()
    return d


def _raise_category(high: dtype | None, low: dtype | None) -> dtype | None:
    if high is None or low is None:
        return high or low
    if high.category >= low.category and high.category > BOOL:
        return high
    if low.is_complex:
        return high.to_complex() if high.category == FLOAT else low
    return promote_types(high, low)


def describe(x: Any) -> Operand:
    """Return the (dtype, class) pair of a tensor or a Python number."""
    kind = _NUMBERS.get(type(x))
    if kind is not None:
        return kind, NUMBER
    for number, kind in _NUMBERS.items():  # NumPy's float64 is a Python float, too
        if isinstance(x, number):
            return kind, NUMBER
    try:
        return x.dtype, DIMENSIONED if x.ndim else ZERO_DIM
    except AttributeError:
        raise TypeError(
            f"result_type() expects a Tensor or a Python number, got {type(x).__name__}"
        ) from None


_NUMBERS: dict[type, dtype] = {
    bool: bool_,
    int: int64,
    float: float64,
    complex: dtypes.complex128,
}


def result_type(tensor1: Any, tensor2: Any) -> dtype:
    """Return the dtype of an arithmetic operation on two tensors or Python numbers.

    >>> result_type(1, 2.0)
    torch.float32
    """
    return result_dtype((describe(tensor1), describe(tensor2)))
