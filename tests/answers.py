"""Ask both libraries one line of code: the same values and dtypes, or the same kind of error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import multitorch


class OnDevice:
    """multitorch, whose factories make their tensors on one device."""

    def __init__(self, device: str) -> None:
        self._device = device

    def __getattr__(self, name: str) -> Any:
        found = getattr(multitorch, name)
        if name in ("tensor", "zeros", "ones"):
            return lambda *args, **kwargs: found(*args, device=self._device, **kwargs)
        return found


def ask(lib: Any, code: str) -> Any:
    """Evaluate a line in which `t` makes a tensor; return the result or the error."""
    names = {"torch": lib, "t": lib.tensor, "inf": math.inf, "nan": math.nan, "np": np}
    try:
        return eval(code, names)
    except Exception as error:
        return error


def check(oracle: Any, device: str, code: str, tol: float = 1e-6) -> None:
    """Assert that the answers to a line of code agree."""
    same(ask(OnDevice(device), code), ask(oracle, code), tol)


def same(ours: Any, theirs: Any, tol: float) -> None:
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), f"{ours!r} instead of {theirs!r}"
    elif isinstance(theirs, tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, tol)
    elif hasattr(theirs, "detach"):
        assert not isinstance(ours, Exception), repr(ours)
        assert str(ours.dtype) == str(theirs.dtype)
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(
            np.array(ours.tolist()), np.array(theirs.tolist()), rtol=tol, atol=tol
        )
    else:
        assert type(ours) is type(theirs) and (ours == theirs or ours is theirs)
