"""Padding layers."""

from __future__ import annotations

from typing import Any

from multitorch.nn.conv import ntuple
from multitorch.nn.functional import pad
from multitorch.nn.module import Module
from multitorch.tensor import Tensor


class _Pad(Module):
    """Amounts of padding: last dimension first, before and after."""

    _dims: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, mode=self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """Padding with one value."""

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pad the last dimension with a value."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Pad the last two dimensions with a value."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Pad the last three dimensions with a value."""

    _dims = 3


class _ZeroPad(_ConstantPad):
    """Padding with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """Pad the last dimension with zeros."""

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """Pad the last two dimensions with zeros."""

    _dims = 2


class ZeroPad3d(_ZeroPad):
    """Pad the last three dimensions with zeros."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """Pad the last dimension by reflection at its border values."""

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Pad the last two dimensions by reflection."""

    _dims, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Pad the last three dimensions by reflection."""

    _dims, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Pad the last dimension by repeating its border values."""

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Pad the last two dimensions by repeating the border."""

    _dims, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Pad the last three dimensions by repeating the border."""

    _dims, _mode = 3, "replicate"


class _CircularPad(_Pad):
    """Padding with values from the other end."""

    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self._dims
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Pad the last dimension with values from its other end."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """Pad the last two dimensions with values from their other ends."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """Pad the last three dimensions with values from their other ends."""

    _dims = 3
