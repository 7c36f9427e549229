"""`assert_close`: compare tensors with tolerances that fit their dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.tensor import Tensor

_TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Assert |actual - expected| <= atol + rtol * |expected|, elementwise, and equal kinds.

    Source: https://docs.pytorch.org/docs/stable/testing.html
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            f"rtol and atol must both be specified or both be unspecified: {rtol=}, {atol=}"
        )
    problem = _compare(actual, expected, rtol, atol, equal_nan, check_device, check_dtype)
    if problem is not None:
        raise AssertionError(msg(problem) if callable(msg) else msg or problem)


def _compare(
    actual: Any, expected: Any, rtol: Any, atol: Any, equal_nan: bool, device: bool, dtype: bool
) -> str | None:
    options = (rtol, atol, equal_nan, device, dtype)
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            return f"The keys of the mappings do not match: {list(actual)} and {list(expected)}"
        pairs = [(f"[{k!r}]", actual[k], expected[k]) for k in actual]
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            return f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
        pairs = [(f"[{i}]", a, b) for i, (a, b) in enumerate(zip(actual, expected, strict=True))]
    else:
        return _compare_arrays(actual, expected, *options)
    for key, a, b in pairs:
        problem = _compare(a, b, *options)
        if problem is not None:
            return f"{problem}\n\nThe failure occurred for item {key}"
    return None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _compare_arrays(
    actual: Any, expected: Any, rtol: Any, atol: Any, equal_nan: bool, device: bool, dtype: bool
) -> str | None:
    if isinstance(actual, Tensor) and isinstance(expected, Tensor):
        if actual.shape != expected.shape:
            return _differs("shape", actual.shape, expected.shape)
        if device and actual.device != expected.device:
            return _differs("device", actual.device, expected.device)
        if dtype and actual.dtype != expected.dtype:
            return _differs("dtype", actual.dtype, expected.dtype)
    if rtol is None:
        kinds = [t.dtype for t in (actual, expected) if isinstance(t, Tensor)]
        kinds = kinds or [dtypes.float64 if isinstance(expected, float) else dtypes.int64]
        rtol = max(_TOLERANCES.get(d, (0.0, 0.0))[0] for d in kinds)
        atol = max(_TOLERANCES.get(d, (0.0, 0.0))[1] for d in kinds)
    a, b = _wide(actual), _wide(expected)
    if a.shape != b.shape:
        return _differs("shape", a.shape, b.shape)
    close = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    return None if close.all() else _describe(a, b, close, rtol, atol)


def _differs(attribute: str, actual: Any, expected: Any) -> str:
    return f"The values for attribute '{attribute}' do not match: {actual} != {expected}."


def _wide(value: Any) -> np.ndarray:
    a = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if a.dtype.kind == "c":
        return a.astype(np.complex128)
    return a.astype(np.float64) if a.dtype.kind in "fV" else a


def _describe(a: np.ndarray, b: np.ndarray, close: np.ndarray, rtol: float, atol: float) -> str:
    bad = int((~close).sum())
    if not close.ndim:
        return (
            f"Scalars are not close!\n\nExpected {b} but got {a}.\n"
            f"Absolute difference: {abs(a - b)} (up to {atol} allowed)"
        )
    with np.errstate(all="ignore"):
        difference = np.where(close, 0, np.abs(np.asarray(a, np.complex128) - b))
    at = tuple(int(i) for i in np.unravel_index(np.nanargmax(difference), difference.shape))
    return (
        f"Tensor-likes are not close!\n\nMismatched elements: {bad} / {close.size} "
        f"({100 * bad / close.size:.1f}%)\nGreatest absolute difference: {difference[at]} at index "
        f"{at} (up to {atol} allowed); relative tolerance {rtol}"
    )
