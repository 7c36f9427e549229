"""Device "meta": every op gives its result's shape and dtype, and no data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch.backend import Backend
from multitorch.graph.shapes import infer
from multitorch.graph.sym import Sym


class MetaBackend(Backend):
    """Arrays without data."""

    name = "meta"
    array_types = (Sym,)

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)

        def kernel(*arrays: Any, **params: Any) -> Any:
            return _wrap(self, infer(self, name, arrays, params))

        self.__dict__[name] = kernel
        return kernel

    def device_count(self, type: str) -> int:
        return 1

    def put(self, a: Any, *, type: str, index: int) -> Sym:
        return Sym(self, a.shape, np.dtype(a.dtype))

    def full(self, value: Any, *, shape: tuple[int, ...], dtype: np.dtype, type: str, index: int):
        return Sym(self, tuple(shape), np.dtype(dtype))

    def as_array(self, a: Any) -> Sym:
        return Sym(self, np.shape(a), np.asarray(a).dtype)

    def get(self, a: Any) -> np.ndarray:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    def write(self, dst: Any, src: Any) -> Any:
        return dst


def _wrap(world: Any, spec: Any) -> Any:
    if spec and isinstance(spec[0], tuple) and spec[0] and isinstance(spec[0][0], tuple):
        return tuple(Sym(world, *s) for s in spec)
    if isinstance(spec[1], tuple):
        return tuple(Sym(world, *s) for s in spec)
    return Sym(world, *spec)


def load() -> MetaBackend:
    """Return the backend of device "meta"."""
    return MetaBackend()
