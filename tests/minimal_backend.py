"""The smallest backend: only the primitives, on arrays that are values.

It proves the contract. Fused ops run on their generic bodies, views and in-place writes on the path
of immutable arrays, and no kernel is shared with another backend's fused overrides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch.backend import Backend
from multitorch.backend.collect import kernels
from multitorch.backend.contract import generic_bodies


class MinimalBackend(Backend):
    """NumPy's primitive kernels on read-only arrays, device "mini"."""

    name = "minimal"
    mutable = False
    array_types = (np.ndarray,)

    def __init__(self) -> None:
        fused = generic_bodies()
        self.adopt({k: f for k, f in kernels("multitorch_numpy").items() if k not in fused})

    def device_count(self, type: str) -> int:
        return 1

    def put(self, a: np.ndarray, *, type: str, index: int) -> np.ndarray:
        value = np.array(a)
        value.flags.writeable = False
        return value

    def get(self, a: np.ndarray) -> np.ndarray:
        return np.array(a)

    def as_array(self, a: Any) -> np.ndarray:
        return np.asarray(a)

    def write(self, dst: np.ndarray, src: Any) -> np.ndarray:
        value = np.empty(dst.shape, dst.dtype)
        np.copyto(value, src, casting="unsafe")
        return value

    def copy(self, a: np.ndarray) -> np.ndarray:
        return np.array(a)

    own = copy

    def quiet(self) -> Any:
        return np.errstate(all="ignore")


def load() -> MinimalBackend:
    """Return the backend."""
    return MinimalBackend()
