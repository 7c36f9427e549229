"""Arrays without data: a shape, a dtype and, inside a recording, the number of a value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


class Sym:
    """A symbolic array; its operators call the kernels of its world."""

    __slots__ = ("__weakref__", "dtype", "id", "segment", "shape", "world")

    def __init__(
        self, world: Any, shape: tuple[int, ...], dtype: np.dtype, id: int = -1, segment: int = 0
    ) -> None:
        self.world, self.shape, self.dtype, self.id = world, shape, dtype, id
        self.segment = segment

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"Sym({self.id}: {self.dtype}{list(self.shape)})"

    def __bool__(self) -> bool:
        raise RuntimeError("the value of a symbolic array is not known")

    def __neg__(self) -> Any:
        return self.world.neg(self)

    def __invert__(self) -> Any:
        return self.world.bitwise_not(self)

    __hash__ = object.__hash__


def _binary(name: str, swapped: bool = False) -> Callable:
    def method(x: Sym, y: Any) -> Any:
        kernel = getattr(x.world, name)
        return kernel(y, x) if swapped else kernel(x, y)

    return method


for _operator, _kernel in {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "mod": "remainder", "floordiv": "floor_divide",
    "matmul": "matmul",
}.items():  # fmt: skip
    setattr(Sym, f"__{_operator}__", _binary(_kernel))
    setattr(Sym, f"__r{_operator}__", _binary(_kernel, swapped=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Sym, f"__{_name}__", _binary(_name))
