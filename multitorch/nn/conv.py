"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from multitorch.nn import init
from multitorch.nn.module import Module
from multitorch.nn.parameter import Parameter
from multitorch.ops.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from multitorch.ops.creation import empty
from multitorch.ops.shape import pad
from multitorch.tensor import Tensor

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def ntuple(value: Any, n: int) -> tuple:
    """Return ``value`` as a tuple: a single number is repeated n times."""
    return tuple(value) if isinstance(value, Sequence) else tuple(repeat(value, n))


class _ConvNd(Module):
    """Weights and settings that all convolutions share."""

    weight: Parameter
    bias: Parameter | None
    _dims: int
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        output_padding: Any = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        n = self._dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = ntuple(kernel_size, n)
        self.stride = ntuple(stride, n)
        self.padding = padding if isinstance(padding, str) else ntuple(padding, n)
        self.dilation = ntuple(dilation, n)
        self.transposed = self._transposed
        self.output_padding = ntuple(output_padding, n)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check()
        self._reversed_padding_repeated_twice = self._pads()
        factory = {"device": device, "dtype": dtype}
        self.weight = Parameter(empty(self._weight_shape(), **factory))
        if bias:
            self.bias = Parameter(empty(out_channels, **factory))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        if self.transposed:
            return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def _check(self) -> None:
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        if self.out_channels % self.groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {self.padding!r}, should be one of {{'same', 'valid'}}"
                )
            if self.padding == "same" and any(step != 1 for step in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {set(_PADDING_MODES)}, but got "
                f"padding_mode='{self.padding_mode}'"
            )
        if self.transposed and self.padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')

    def _pads(self) -> list[int]:
        """Return the amounts for ``pad``: last dimension first, before and after."""
        if not isinstance(self.padding, str):
            return [amount for amount in reversed(self.padding) for _ in range(2)]
        pads: list[int] = []
        for step, size in zip(reversed(self.dilation), reversed(self.kernel_size), strict=True):
            total = step * (size - 1) if self.padding == "same" else 0
            pads += [total // 2, total - total // 2]
        return pads

    def reset_parameters(self) -> None:
        """Draw weight and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        zeros = (0,) * self._dims
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        ]
        if self.padding != zeros:
            shown = self.padding
            parts.append(f"padding={shown}")
        if self.dilation != (1,) * self._dims:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != zeros:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_ConvNd):
    """The constructor and forward of Conv1d, Conv2d and Conv3d."""

    _conv: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device=device,
            dtype=dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return self._conv(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    """Cross-correlation over length: (N, C_in, L) to (N, C_out, L_out).

    L_out = (L + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1
    """

    _dims = 1
    _conv = staticmethod(conv1d)


class Conv2d(_Conv):
    """Cross-correlation over height and width: (N, C_in, H, W) to (N, C_out, H_out, W_out).

    >>> import multitorch as torch
    >>> torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)(torch.ones(1, 3, 32, 32)).shape
    torch.Size([1, 8, 16, 16])
    """

    _dims = 2
    _conv = staticmethod(conv2d)


class Conv3d(_Conv):
    """Cross-correlation over depth, height and width of (N, C_in, D, H, W)."""

    _dims = 3
    _conv = staticmethod(conv3d)


class _ConvTransposeNd(_ConvNd):
    """The constructor and forward of the transposed convolutions."""

    _transposed = True
    _conv: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            output_padding,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self._output_padding(input, output_size)
        return self._conv(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> tuple:
        """Return what must be added at the end to reach ``output_size``."""
        if output_size is None:
            return self.output_padding
        n = self._dims
        wanted = self._spatial(output_size, input)
        lowest, highest = self._size_range(input)
        for want, low, high in zip(wanted, lowest, highest, strict=True):
            if want < low or want > high:
                raise ValueError(
                    f"requested an output size of {wanted}, but valid sizes range from "
                    f"{lowest} to {highest} (for an input of {input.size()[-n:]})"
                )
        return tuple(want - low for want, low in zip(wanted, lowest, strict=True))

    def _spatial(self, output_size: Sequence[int], input: Tensor) -> list[int]:
        n, sizes = self._dims, list(output_size)
        batch_dims = 2 if input.dim() == n + 2 else 1
        if len(sizes) == batch_dims + n:
            sizes = sizes[batch_dims:]
        if len(sizes) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or "
                f"{batch_dims + n} elements (got {len(sizes)})"
            )
        return sizes

    def _size_range(self, input: Tensor) -> tuple[list[int], list[int]]:
        n = self._dims
        lowest = [
            (size - 1) * self.stride[d]
            - 2 * self.padding[d]  # type: ignore[operator]
            + self.dilation[d] * (self.kernel_size[d] - 1)
            + 1
            for d, size in enumerate(input.shape[-n:])
        ]
        highest = [low + step - 1 for low, step in zip(lowest, self.stride, strict=True)]
        return lowest, highest


class ConvTranspose1d(_ConvTransposeNd):
    """The gradient of Conv1d as a layer: (N, C_in, L) to (N, C_out, L_out)."""

    _dims = 1
    _conv = staticmethod(conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """The gradient of Conv2d as a layer: (N, C_in, H, W) to (N, C_out, H_out, W_out)."""

    _dims = 2
    _conv = staticmethod(conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """The gradient of Conv3d as a layer."""

    _dims = 3
    _conv = staticmethod(conv_transpose3d)
