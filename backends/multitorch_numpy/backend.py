"""Arrays in host memory; kernels are NumPy's ufuncs or short functions over them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch.backend import Backend
from multitorch.backend.collect import kernels


class NumpyBackend(Backend):
    """NumPy behind device "cpu"."""

    name = "numpy"
    mutable = True
    compiles_with = "jax"
    array_types = (np.ndarray,)

    def __init__(self) -> None:
        # Overflow and division by zero are no news to a PyTorch user. np.errstate around each op
        # would take longer than the op.
        for module in ("multitorch", "multitorch_numpy"):
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=rf"{module}(\.|$)")
        self.adopt(kernels("multitorch_numpy"))

    def device_count(self, type: str) -> int:
        return 1

    def put(self, a: np.ndarray, *, type: str, index: int) -> np.ndarray:
        return np.asarray(a)

    def get(self, a: np.ndarray) -> np.ndarray:
        return a

    def as_array(self, a: Any) -> np.ndarray:
        return np.asarray(a)

    def copy(self, a: np.ndarray) -> np.ndarray:
        return np.array(a)

    def own(self, a: Any) -> np.ndarray:
        if a.__class__ is not np.ndarray or a.base is not None or not a.flags.writeable:
            return np.array(a)
        return a

    def write(self, dst: np.ndarray, src: Any) -> np.ndarray:
        if dst is not src:
            np.copyto(dst, src, casting="unsafe")
        return dst

    def buffer(self, a: Any) -> Any:
        base = a.base
        while base.__class__ is np.ndarray:
            a, base = base, base.base
        return a

    def has_overlap(self, a: np.ndarray) -> bool:
        pairs = zip(a.strides, a.shape, strict=True)
        return any(stride == 0 and size > 1 for stride, size in pairs)

    def strides(self, a: np.ndarray) -> tuple[tuple[int, ...], int]:
        size = a.itemsize or 1
        start = self.buffer(a)
        offset = (a.__array_interface__["data"][0] - start.__array_interface__["data"][0]) // size
        return tuple([s // size for s in a.strides]), offset

    def is_contiguous(self, a: np.ndarray) -> bool:
        return a.flags.c_contiguous

    def reshaped_in_place(self, a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        return a.reshape(shape) if a.flags.c_contiguous else None

    def data_ptr(self, a: np.ndarray) -> int:
        return a.__array_interface__["data"][0]

    def quiet(self) -> Any:
        return np.errstate(all="ignore")

    def inplace_kernel(self, name: str) -> Callable | None:
        kernel = getattr(self, name)
        return kernel if isinstance(kernel, np.ufunc) else None
