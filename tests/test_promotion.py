"""Type promotion: every pair of dtypes, in every class of operand."""

from __future__ import annotations

import itertools
import warnings
from typing import NamedTuple

import pytest

from multitorch import dtypes
from multitorch.dtypes import ALL, NAMES, dtype
from multitorch.promotion import (
    DIMENSIONED,
    NUMBER,
    ZERO_DIM,
    can_cast,
    promote_types,
    result_dtype,
    result_type,
)

# What promote_types gives, by PyTorch's abbreviations; "-" where it refuses.
TABLE = """
        b8   u8   i8  i16  i32  i64  u16  u32  u64  f16 bf16  f32  f64  c32  c64 c128
  b8    b8   u8   i8  i16  i32  i64    -    -    -  f16 bf16  f32  f64  c32  c64 c128
  u8    u8   u8  i16  i16  i32  i64    -    -    -  f16 bf16  f32  f64  c32  c64 c128
  i8    i8  i16   i8  i16  i32  i64    -    -    -  f16 bf16  f32  f64  c32  c64 c128
 i16   i16  i16  i16  i16  i32  i64    -    -    -  f16 bf16  f32  f64  c32  c64 c128
 i32   i32  i32  i32  i32  i32  i64    -    -    -  f16 bf16  f32  f64  c32  c64 c128
 i64   i64  i64  i64  i64  i64  i64    -    -    -  f16 bf16  f32  f64  c32  c64 c128
 u16     -    -    -    -    -    -  u16    -    -  f16 bf16  f32  f64    -    -    -
 u32     -    -    -    -    -    -    -  u32    -  f16 bf16  f32  f64    -    -    -
 u64     -    -    -    -    -    -    -    -  u64  f16 bf16  f32  f64    -    -    -
 f16   f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f32  f32  f64  c32  c64 c128
bf16  bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16  f32 bf16  f32  f64  c64  c64 c128
 f32   f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f64  c64  c64 c128
 f64   f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64 c128 c128 c128
 c32   c32  c32  c32  c32  c32  c32    -    -    -  c32  c64  c64 c128  c32  c64 c128
 c64   c64  c64  c64  c64  c64  c64    -    -    -  c64  c64  c64 c128  c64  c64 c128
c128  c128 c128 c128 c128 c128 c128    -    -    - c128 c128 c128 c128 c128 c128 c128
"""
FLOAT8 = [d for d in ALL if d.is_floating_point and d.itemsize == 1]
NUMBERS = [True, 1, 1.0, 1j]


class Stand(NamedTuple):
    """What promotion looks at in a tensor."""

    dtype: dtype
    ndim: int


def outcome(f, *args):
    """Return what a call gives: the text of its result, or the error's type and message."""
    try:
        return repr(f(*args))
    except Exception as error:
        return type(error), str(error)


def test_promote_types_table():
    by_abbreviation = {d.abbr: d for d in ALL}
    header, *rows = [line.split() for line in TABLE.strip().splitlines()]
    for first, *results in rows:
        for second, expected in zip(header, results, strict=True):
            a, b = by_abbreviation[first], by_abbreviation[second]
            if expected == "-":
                with pytest.raises(RuntimeError, match="Promotion for uint16, uint32, uint64 typ"):
                    promote_types(a, b)
            else:
                assert promote_types(a, b) is by_abbreviation[expected], (a, b)


def test_float8_meets_only_itself():
    for a, b in itertools.product(FLOAT8, ALL):
        if a is b:
            assert promote_types(a, b) is a
            continue
        for pair in ((a, b), (b, a)):
            with pytest.raises(RuntimeError, match="Promotion for Float8 Types is not supported"):
                promote_types(*pair)


def test_promotion_is_commutative_and_idempotent():
    for a, b in itertools.product(ALL, ALL):
        forth, back = outcome(promote_types, a, b), outcome(promote_types, b, a)
        assert forth == back or forth[0] is back[0] is RuntimeError
    assert all(promote_types(d, d) is d for d in ALL)


def test_a_lower_class_raises_only_the_category():
    f16, f32, f64 = dtypes.float16, dtypes.float32, dtypes.float64
    i32, c64 = dtypes.int32, dtypes.complex64
    assert result_dtype([(f16, DIMENSIONED), (f64, ZERO_DIM)]) is f16
    assert result_dtype([(i32, DIMENSIONED), (f64, ZERO_DIM)]) is f64
    assert result_dtype([(i32, DIMENSIONED), (f64, NUMBER)]) is f32
    assert result_dtype([(f32, ZERO_DIM), (i32, DIMENSIONED), (f16, ZERO_DIM)]) is f32
    assert result_dtype([(f32, DIMENSIONED), (dtypes.complex128, ZERO_DIM)]) is c64
    assert result_dtype([(dtypes.bool_, DIMENSIONED), (dtypes.int64, NUMBER)]) is dtypes.int64


def test_numbers_follow_the_default_dtype():
    assert result_type(1, 2.0) is dtypes.float32 and result_type(1, 2j) is dtypes.complex64
    dtypes.set_default_dtype(dtypes.float64)
    assert result_type(1, 2.0) is dtypes.float64 and result_type(1, 2j) is dtypes.complex128
    dtypes.set_default_dtype(dtypes.float16)
    assert result_type(True, 2.0) is dtypes.float16


def test_arguments_of_other_types():
    assert promote_types(float, dtypes.int32) is dtypes.float64
    with pytest.raises(TypeError, match="argument 'type2' .position 2. must be torch.dtype"):
        promote_types(dtypes.int32, "float")
    with pytest.raises(TypeError, match="argument 'from_' .position 1. must be torch.dtype"):
        can_cast("float", dtypes.int32)
    with pytest.raises(TypeError, match="result_type"):
        result_type("x", 1)


@pytest.mark.oracle
def test_every_pair_of_dtypes_against_pytorch(oracle):
    for a, b in itertools.product(ALL, ALL):
        theirs = getattr(oracle, a.name), getattr(oracle, b.name)
        assert outcome(promote_types, a, b) == outcome(oracle.promote_types, *theirs)
        assert can_cast(a, b) is oracle.can_cast(*theirs)


@pytest.mark.oracle
@pytest.mark.parametrize("default", ["float32", "float16", "bfloat16", "float64"])
def test_every_pair_of_operands_against_pytorch(oracle, default):
    def operands(kind):
        for d, ndim in itertools.product(ALL, (0, 1)):
            yield kind(d, ndim)
        yield from NUMBERS

    def real(d, ndim):
        return oracle.empty((1,) * ndim, dtype=getattr(oracle, d.name))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "ComplexHalf support is experimental"
        pairs = list(zip(operands(Stand), operands(real), strict=True))
    dtypes.set_default_dtype(NAMES[default])
    oracle.set_default_dtype(getattr(oracle, default))
    try:
        for (a, x), (b, y) in itertools.product(pairs, pairs):
            assert outcome(result_type, a, b) == outcome(oracle.result_type, x, y), (a, b)
    finally:
        oracle.set_default_dtype(oracle.float32)
