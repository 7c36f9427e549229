"""The dtype objects, the default dtype, finfo and iinfo."""

from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

from multitorch import dtypes
from multitorch.dtypes import ALL, NAMES, dtype, finfo, iinfo, to_dtype

ATTRIBUTES = ["abbr", "itemsize", "is_complex", "is_floating_point", "is_signed"]


def outcome(f, *args):
    """Return what a call gives: the text of its result, or the error's type and message."""
    try:
        return repr(f(*args))
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_one_object_for_each_type(d):
    assert pickle.loads(pickle.dumps(d)) is d
    assert copy.deepcopy(d) is d and copy.copy(d) is d
    assert NAMES[d.name] is d and repr(d) == f"torch.{d.name}"
    assert d.inexact == (d.is_floating_point or d.is_complex) == (d.category >= dtypes.FLOAT)


@pytest.mark.parametrize("d", ALL, ids=repr)
def test_numpy_type(d):
    if d is dtypes.complex32:
        assert d.np is None
        with pytest.raises(TypeError, match="torch.complex32 has no NumPy type"):
            d.numpy()
        return
    assert d.np.itemsize == d.itemsize and d.numpy() is d.np
    assert dtypes.from_numpy_dtype[d.np] is d
    assert to_dtype(d.np) is to_dtype(d.np.type) is to_dtype(d) is d


def test_dtypes_cannot_be_made():
    with pytest.raises(TypeError, match="cannot create 'torch.dtype' instances"):
        dtype("float32")


def test_to_dtype_of_other_things():
    assert [to_dtype(t).name for t in (bool, int, float, complex)] == [
        "bool",
        "int64",
        "float64",
        "complex128",
    ]
    assert to_dtype(np.dtype(">f4")) is dtypes.float32
    for bad in ("float32", None, 3, str, np.dtype("U3"), np.dtype("M8[s]"), object):
        with pytest.raises(TypeError, match="dtype"):
            to_dtype(bad)


def test_real_and_complex():
    assert dtypes.complex64.to_real() is dtypes.float32
    assert dtypes.float64.to_complex() is dtypes.complex128
    assert dtypes.bfloat16.to_complex() is dtypes.complex64
    with pytest.raises(RuntimeError, match="Unknown Complex ScalarType for Long"):
        dtypes.int64.to_complex()


def test_default_dtype():
    assert dtypes.get_default_dtype() is dtypes.float32
    dtypes.set_default_dtype(dtypes.float64)
    assert dtypes.get_default_dtype() is dtypes.float64
    assert finfo().bits == 64
    for bad in (dtypes.int32, dtypes.complex64, dtypes.float8_e5m2, "float32", np.float32):
        with pytest.raises(TypeError, match="only floating-point types are supported"):
            dtypes.set_default_dtype(bad)
    assert dtypes.get_default_dtype() is dtypes.float64


def test_limits_agree_with_numpy():
    for d in (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64, dtypes.complex128):
        ours, theirs = finfo(d), ml_dtypes.finfo(d.np)
        assert (ours.eps, ours.max, ours.min) == (theirs.eps, theirs.max, theirs.min)
        assert ours.tiny == ours.smallest_normal == pytest.approx(float(theirs.tiny), rel=1e-5)
    for d in ALL:
        if d.category == dtypes.INTEGER:
            assert (iinfo(d).min, iinfo(d).max) == (np.iinfo(d.np).min, np.iinfo(d.np).max)


def test_limits_text():
    assert repr(finfo(dtypes.bfloat16)) == (
        "finfo(resolution=0.01, min=-3.38953e+38, max=3.38953e+38, eps=0.0078125, "
        "smallest_normal=1.17549e-38, tiny=1.17549e-38, dtype=bfloat16)"
    )
    assert repr(iinfo(dtypes.int64)) == "iinfo(min=-9.22337e+18, max=9.22337e+18, dtype=int64)"
    assert finfo(dtypes.float32) == finfo(dtypes.complex64) != finfo(dtypes.float64)


@pytest.mark.oracle
def test_attributes_are_pytorchs(oracle):
    for name, d in NAMES.items():
        theirs = getattr(oracle, name)
        assert repr(d) == repr(theirs)
        assert [getattr(d, a) for a in ATTRIBUTES] == [getattr(theirs, a) for a in ATTRIBUTES]
        for method in ("to_real", "to_complex"):
            assert outcome(getattr(d, method)) == outcome(getattr(theirs, method))


@pytest.mark.oracle
def test_limits_are_pytorchs(oracle):
    for name, d in {**NAMES, "python float": float, "python int": int, "text": "x"}.items():
        theirs = getattr(oracle, name, d)
        for limits in ("finfo", "iinfo"):
            ours, expected = getattr(dtypes, limits), getattr(oracle, limits)
            assert outcome(ours, d) == outcome(expected, theirs)
            try:
                mine = ours(d)
            except TypeError:
                continue
            for a in ours.__slots__:
                assert getattr(mine, a) == getattr(expected(theirs), a), (d, a)
