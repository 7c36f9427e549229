"""Convolutions, and the gathering of windows (unfold, fold).

Three bilinear ops, the convolution, its gradient by the input and its gradient by the weight, are
each other's derivatives; so that any order of differentiation needs these three kernels only. A
transposed convolution is the gradient by the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import dtype
from multitorch.ops.op import op
from multitorch.ops.products import SameDtype
from multitorch.ops.promote import not_implemented
from multitorch.ops.shape import pad

Tensor = Any
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def _kernel_dtype(name: str, d: dtype) -> dtype:
    if d is dtypes.bool_ or d.name.startswith("float8"):
        raise not_implemented("slow_conv2d", d)
    return d


_same = SameDtype("same", _kernel_dtype, fast=frozenset())
_any_dtype = SameDtype("any_dtype", lambda name, d: d, fast=frozenset())


def _sum_positions(F: Any, g: Any) -> Any:
    return F.sum(g, dim=(0, *range(2, g.ndim)), keepdim=False)


def output_size(
    size: Sizes, kernel: Sizes, *, stride: Sizes, padding: Pads, dilation: Sizes
) -> Sizes:
    """Return the number of windows along each dimension.

    >>> output_size((8,), (3,), stride=(2,), padding=((1, 1),), dilation=(1,))
    (4,)
    """
    return tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, k, s, (lo, hi), d in zip(size, kernel, stride, padding, dilation)
    )


def _shape(x: Any, w: Any, b: Any = None, *, groups: int, **geometry: Any) -> tuple:
    size = output_size(x.shape[2:], w.shape[2:], **geometry)
    return (x.shape[0], w.shape[0], *size), x.dtype


def _input_grad_shape(y: Any, w: Any, *, size: Sizes, groups: int, **geometry: Any) -> tuple:
    return (y.shape[0], w.shape[1] * groups, *size), y.dtype


def _weight_grad_shape(y: Any, x: Any, *, kernel: Sizes, groups: int, **geometry: Any) -> tuple:
    return (y.shape[1], x.shape[1] // groups, *kernel), y.dtype


def _geometry(stride: Sizes, padding: Pads, dilation: Sizes, groups: int) -> dict[str, Any]:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


_convolution = op(
    "convolution", "x w b", promote=_same, broadcasts=False, node="Convolution", shape=_shape
).vjp(
    x=lambda F, g, w, x_shape, stride, padding, dilation, groups: F.conv_input_grad(
        g, F.conj(w), size=tuple(x_shape[2:]), **_geometry(stride, padding, dilation, groups)
    ),
    w=lambda F, g, x, w_shape, stride, padding, dilation, groups: F.conv_weight_grad(
        g, F.conj(x), kernel=tuple(w_shape[2:]), **_geometry(stride, padding, dilation, groups)
    ),
    b=_sum_positions,
)
_conv_input_grad = op(
    "conv_input_grad", "y w", promote=_same, broadcasts=False, node="Convolution",
    shape=_input_grad_shape,
).vjp(
    y=lambda F, g, w, stride, padding, dilation, groups: F.convolution(
        g, F.conj(w), None, **_geometry(stride, padding, dilation, groups)
    ),
    w=lambda F, g, y, w_shape, stride, padding, dilation, groups: F.conv_weight_grad(
        F.conj(y), g, kernel=tuple(w_shape[2:]), **_geometry(stride, padding, dilation, groups)
    ),
)  # fmt: skip
_conv_weight_grad = op(
    "conv_weight_grad", "y x", promote=_same, broadcasts=False, node="ConvolutionBackward",
    shape=_weight_grad_shape,
).vjp(
    y=lambda F, g, x, stride, padding, dilation, groups: F.convolution(
        F.conj(x), g, None, **_geometry(stride, padding, dilation, groups)
    ),
    x=lambda F, g, y, x_shape, stride, padding, dilation, groups: F.conv_input_grad(
        F.conj(y), g, size=tuple(x_shape[2:]), **_geometry(stride, padding, dilation, groups)
    ),
)  # fmt: skip

# --- the arguments of the public functions -------------------------------------------------------


def _sizes(value: Any, n: int, name: str) -> Sizes:
    """Return one integer for each of `n` dimensions."""
    if value.__class__ is int:
        return (value,) * n
    if not isinstance(value, Sequence):
        return (int(value),) * n
    if len(value) == 1:
        return (int(value[0]),) * n
    if len(value) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values to match the "
            f"convolution dimensions, but got {name}={list(value)}"
        )
    return tuple([int(v) for v in value])


def _pads(padding: Any, n: int, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Pads:
    """Return (before, after) for each dimension; 'same' puts an odd one after."""
    if padding.__class__ is str:
        if padding == "valid":
            return ((0, 0),) * n
        if padding != "same":
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple([(t // 2, t - t // 2) for t in totals])
    sizes = _sizes(padding, n, "padding")
    if min(sizes) < 0:
        raise RuntimeError("negative padding is not supported")
    return tuple([(p, p) for p in sizes])


def _check_numbers(stride: Sizes, dilation: Sizes, groups: int) -> None:
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(dilation) <= 0:
        raise RuntimeError(f"dilation should be greater than zero, but got {list(dilation)}")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")


def _check_shapes(
    x: Sizes, w: Sizes, b: Sizes | None, groups: int, transposed: bool = False
) -> None:
    if len(w) != len(x):
        raise RuntimeError(
            f"weight should have {len(x)} dimensions, but got weight of size {list(w)}"
        )
    channels, wanted = x[1], w[0] if transposed else w[1] * groups
    if w[0] % groups or w[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size [{list(w)}] instead"
        )
    if channels != wanted:
        given = f"transposed={int(transposed)}" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"Given {given}, weight of size {list(w)}, expected input{list(x)} to have "
            f"{wanted} channels, but got {channels} channels instead"
        )
    outs = w[1] * groups if transposed else w[0]
    if b is not None and b != (outs,):
        given = f"transposed={int(transposed)}, " if transposed else ""
        raise RuntimeError(
            f"Given {given}weight of size {list(w)}, expected bias to be 1-dimensional with "
            f"{outs} elements, but got bias of size {list(b)} instead"
        )


def _check_dtypes(x: Tensor, w: Tensor, b: Tensor | None) -> None:
    for name, t in (("weight", w), ("bias", b)):
        if t is not None and t._dtype is not x._dtype:
            raise RuntimeError(
                f"Input type ({_type_name(x)}) and {name} type ({_type_name(t)}) should be the same"
            )


def _type_name(t: Tensor) -> str:
    return t._dtype.scalar_name.lower()


def _batched(x: Tensor, n: int, name: str) -> tuple[Tensor, bool]:
    """Return the input with a batch dimension, and whether it had one."""
    ndim = x._a.ndim
    if ndim == n + 2:
        return x, True
    if ndim == n + 1:
        return x.unsqueeze(0), False
    raise RuntimeError(
        f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of "
        f"size: {list(x.shape)}"
    )


def _check_fits(size: Sizes, kernel: Sizes, padding: Pads, dilation: Sizes) -> None:
    padded = [n + lo + hi for n, (lo, hi) in zip(size, padding)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if any(p < r for p, r in zip(padded, reach)):
        shown, window = (" x ".join(str(v) for v in values) for values in (padded, reach))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({shown}). Kernel size: ({window}). "
            "Kernel size can't be greater than actual input size"
        )


@lru_cache(maxsize=1024)
def _checked(
    n: int, x: Sizes, w: Sizes, b: Sizes | None, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> dict[str, Any]:  # fmt: skip
    """Check shapes and numbers; return what the kernel takes."""
    stride, dilation = _sizes(stride, n, "stride"), _sizes(dilation, n, "dilation")
    _check_numbers(stride, dilation, groups)
    _check_shapes(x, w, b, groups)
    pads = _pads(padding, n, w[2:], stride, dilation)
    _check_fits(x[2:], w[2:], pads, dilation)
    return _geometry(stride, pads, dilation, groups)


def _conv(
    n: int, x: Tensor, w: Tensor, b: Tensor | None, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> Tensor:  # fmt: skip
    x, batched = _batched(x, n, f"conv{n}d")
    shapes = n, x._a.shape, w._a.shape, None if b is None else b._a.shape
    try:
        params = _checked(*shapes, stride, padding, dilation, groups)
    except TypeError:  # a list cannot be a key
        params = _checked.__wrapped__(*shapes, stride, padding, dilation, groups)
    if w._dtype is not x._dtype or (b is not None and b._dtype is not x._dtype):
        _check_dtypes(x, w, b)
    y = _convolution(x, w, b, **params)
    return y if batched else y.squeeze(0)


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Correlate (N, C, L) with (O, C / groups, K): returns (N, O, L')."""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Correlate (N, C, H, W) with (O, C / groups, KH, KW): returns (N, O, H', W').

    >>> import multitorch as torch
    >>> torch.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)).shape
    torch.Size([1, 1, 2, 2])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Correlate (N, C, D, H, W) with (O, C / groups, KD, KH, KW)."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


# --- transposed ----------------------------------------------------------------------------------


def _conv_transpose(
    n: int, x: Tensor, w: Tensor, b: Tensor | None, stride: Any, padding: Any, output_padding: Any,
    groups: int, dilation: Any,
) -> Tensor:  # fmt: skip
    x, batched = _batched(x, n, f"conv_transpose{n}d")
    stride, dilation = _sizes(stride, n, "stride"), _sizes(dilation, n, "dilation")
    _check_numbers(stride, dilation, groups)
    bias = None if b is None else b._a.shape
    _check_shapes(x._a.shape, w._a.shape, bias, groups, transposed=True)
    _check_dtypes(x, w, b)
    extra = _sizes(output_padding, n, "output_padding")
    if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation)):
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got "
            f"output_padding={list(extra)}, stride={list(stride)}, dilation={list(dilation)}"
        )
    pads = _pads(_sizes(padding, n, "padding"), n, (), (), ())
    size = tuple(
        [
            (m - 1) * s - lo - hi + d * (k - 1) + e + 1
            for m, s, (lo, hi), d, k, e in zip(
                x.shape[2:], stride, pads, dilation, w.shape[2:], extra
            )
        ]
    )
    if min(size) <= 0:
        raise RuntimeError(
            f"Given input size per channel: {list(x.shape[2:])}. Calculated output size per "
            f"channel: {list(size)}. Output size is too small"
        )
    y = _long_transpose(x, w, size, extra, _geometry(stride, pads, dilation, groups))
    if b is not None:
        y = y + b.reshape(-1, *(1,) * n)
    return y if batched else y.squeeze(0)


def _long_transpose(x: Tensor, w: Tensor, size: Sizes, extra: Sizes, geometry: Any) -> Tensor:
    """Return the transposed convolution where `extra` may exceed the stride.

    A forward convolution of so long an image would have more windows than x has positions: it gets
    less padding at the end, and is shorter by zeros where there is no padding left.
    """
    stride, padding = geometry["stride"], geometry["padding"]
    cuts = [e - e % s for e, s in zip(extra, stride)]
    if not any(cuts):
        return _conv_input_grad(x, w, size=size, **geometry)
    pads = tuple([(lo, max(hi - cut, 0)) for (lo, hi), cut in zip(padding, cuts)])
    zeros = [max(cut - hi, 0) for (_, hi), cut in zip(padding, cuts)]
    short = tuple([m - z for m, z in zip(size, zeros)])
    y = _conv_input_grad(x, w, size=short, **{**geometry, "padding": pads})
    return pad(y, [v for z in reversed(zeros) for v in (0, z)]) if any(zeros) else y


def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """Apply the gradient of `conv1d` by its input to (N, C, L); weight is (C, O / groups, K)."""
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """Apply the gradient of `conv2d` by its input to (N, C, H, W)."""
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def conv_transpose3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """Apply the gradient of `conv3d` by its input to (N, C, D, H, W)."""
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


# --- windows -------------------------------------------------------------------------------------


def _columns_shape(x: Any, *, kernel: Sizes, **geometry: Any) -> tuple:
    windows = output_size(x.shape[2:], kernel, **geometry)
    return (x.shape[0], x.shape[1] * prod(kernel), prod(windows)), x.dtype


def _image_shape(y: Any, *, size: Sizes, kernel: Sizes, **_: Any) -> tuple:
    return (y.shape[0], y.shape[1] // prod(kernel), *size), y.dtype


_im2col = op(
    "im2col", "x", promote=_any_dtype, broadcasts=False, node="Im2Col", shape=_columns_shape
).vjp(
    x=lambda F, g, x_shape, kernel, stride, padding, dilation: F.col2im(
        g, size=tuple(x_shape[2:]), kernel=kernel, stride=stride, padding=padding,
        dilation=dilation,
    )
)  # fmt: skip
_col2im = op("col2im", "y", promote=_same, broadcasts=False, node="Col2Im", shape=_image_shape).vjp(
    y=lambda F, g, kernel, stride, padding, dilation: F.im2col(
        g, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )
)


def _window_geometry(kernel: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, Any]:
    pads = tuple([(p, p) for p in _sizes(padding, 2, "padding")])
    return {
        "kernel": _sizes(kernel, 2, "kernel_size"),
        "stride": _sizes(stride, 2, "stride"),
        "padding": pads,
        "dilation": _sizes(dilation, 2, "dilation"),
    }


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Return the windows of (N, C, H, W) as columns: (N, C · kernel elements, windows)."""
    if input.ndim not in (3, 4):
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(input.shape)}"
        )
    x, batched = _batched(input, 2, "unfold")
    geometry = _window_geometry(kernel_size, dilation, padding, stride)
    windows = output_size(tuple(x.shape[2:]), geometry["kernel"], **_rest(geometry))
    if min(windows) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(x.shape[2:])}, kernel_size="
            f"{geometry['kernel']}, dilation={geometry['dilation']}, padding={padding}, calculated "
            f"shape of the array of sliding blocks as {windows}, but its components must be at "
            "least one."
        )
    y = _im2col(x, **geometry)
    return y if batched else y.squeeze(0)


def _rest(geometry: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in geometry.items() if k != "kernel"}


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Tensor:  # fmt: skip
    """Add columns up to images (N, C, *output_size): the transpose of `unfold`."""
    if input.ndim not in (2, 3):
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(input.shape)}"
        )
    y, batched = (input, True) if input.ndim == 3 else (input.unsqueeze(0), False)
    geometry = _window_geometry(kernel_size, dilation, padding, stride)
    size = _sizes(output_size, 2, "output_size")
    _check_columns(y, size, geometry)
    x = _col2im(y, size=size, **geometry)
    return x if batched else x.squeeze(0)


def _check_columns(y: Tensor, size: Sizes, geometry: dict[str, Any]) -> None:
    kernel = geometry["kernel"]
    if y.shape[1] % prod(kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={y.shape[1]} and kernel_size={kernel}."
        )
    windows = output_size(size, kernel, **_rest(geometry))
    if prod(windows) != y.shape[2]:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={geometry['dilation']}, "
            f"stride={geometry['stride']}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {windows[0]} * {windows[1]} = {prod(windows)}, "
            f"but got input.size(2)={y.shape[2]}."
        )


METHODS: dict = {}
INPLACE: dict = {}
FUNCTIONS = {
    "conv1d": conv1d,
    "conv2d": conv2d,
    "conv3d": conv3d,
    "conv_transpose1d": conv_transpose1d,
    "conv_transpose2d": conv_transpose2d,
    "conv_transpose3d": conv_transpose3d,
}
