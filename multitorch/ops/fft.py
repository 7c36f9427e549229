"""Discrete Fourier transforms: three linear primitives, and PyTorch's functions over them.

`norm` says where the factor 1/n goes, as in SciPy; `inverse` is the sign of the exponent. The
adjoint of a transform is the one of the other sign with the factor on the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.dtypes import to_dtype
from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.complex_numbers import conj
from multitorch.ops.creation import finish
from multitorch.ops.join import cat
from multitorch.ops.op import op
from multitorch.ops.ranges import arange
from multitorch.ops.shape import pad, roll

Tensor = Any
Dims = tuple[int, ...]
_ADJOINT = {"backward": "forward", "forward": "backward", "ortho": "ortho"}

# --- primitives ----------------------------------------------------------------------------------


def _complex(d: np.dtype) -> np.dtype:
    return np.result_type(d, np.complex64)


def _with_size(shape: Sequence[int], dim: int, n: int) -> Dims:
    return (*shape[:dim], n, *shape[dim + 1 :])


def _weights(F: Any, g: Any, dtype: np.dtype, ndim: int, dim: int, n: int, inner: float) -> Any:
    """Return the weight of each frequency 0 … n/2: `inner` if it stands for its negative too."""
    k = F.iota(g, size=n // 2 + 1, dtype=np.dtype(np.int64))
    both = F.cast((k != 0) & (k * 2 != n), dtype=dtype)
    shape = (1,) * dim + (n // 2 + 1,) + (1,) * (ndim - dim - 1)
    return F.reshape(both * (inner - 1) + 1.0, shape=shape)


def _c2c_rule(F: Any, g: Any, x_dtype: np.dtype, dim: Dims, norm: str, inverse: bool) -> Any:
    g = F.fft_c2c(g, dim=dim, norm=_ADJOINT[norm], inverse=not inverse)
    return g if x_dtype.kind == "c" else F.real(g)


def _r2c_rule(F: Any, g: Any, x_shape: Dims, x_dtype: np.dtype, dim: Dims, norm: str) -> Any:
    n = x_shape[dim[-1]]
    g = g * _weights(F, g, _complex(x_dtype), len(x_shape), dim[-1], n, 0.5)
    return F.fft_c2r(g, dim=dim, norm=_ADJOINT[norm], size=n)


def _c2r_rule(
    F: Any, g: Any, x_shape: Dims, x_dtype: np.dtype, dim: Dims, norm: str, size: int
) -> Any:
    g = F.fft_r2c(g, dim=dim, norm=_ADJOINT[norm])
    return g * _weights(F, g, x_dtype, len(x_shape), dim[-1], size, 2.0)


_c2c = op(
    "fft_c2c", "x", node="FftC2C",
    shape=lambda x, *, dim, norm, inverse: (x.shape, _complex(x.dtype)),
).vjp(x=_c2c_rule)  # fmt: skip
_r2c = op(
    "fft_r2c", "x", node="FftR2C",
    shape=lambda x, *, dim, norm: (
        _with_size(x.shape, dim[-1], x.shape[dim[-1]] // 2 + 1), _complex(x.dtype)
    ),
).vjp(x=_r2c_rule)  # fmt: skip
_c2r = op(
    "fft_c2r", "x", node="FftC2R",
    shape=lambda x, *, dim, norm, size: (
        _with_size(x.shape, dim[-1], size), np.finfo(x.dtype).dtype
    ),
).vjp(x=_c2r_rule)  # fmt: skip

# --- arguments -----------------------------------------------------------------------------------


def _floating(x: Tensor) -> Tensor:
    """Return the input in a dtype that has transforms; integers become the default dtype."""
    d = x._dtype
    if not d.inexact:
        return x.to(dtypes.get_default_dtype())
    if d not in (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128):
        raise RuntimeError(f"Unsupported dtype {d.scalar_name}")
    return x


def _complexed(x: Tensor) -> Tensor:
    x = _floating(x)
    return x if x._dtype.is_complex else x.to(x._dtype.to_complex())


def _norm(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in _ADJOINT:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return norm


def _points(n: int) -> int:
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return n


def _int(name: str, argument: str, value: Any) -> int:
    if value.__class__ is int:
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        kind = type(value).__name__
        raise TypeError(f"fft_{name}(): argument '{argument}' must be int, not {kind}")
    return value.__index__()


def _ints(name: str, argument: str, values: Any) -> Dims:
    if values.__class__ is int:
        return (values,)
    try:
        return tuple([_int(name, argument, v) for v in values])
    except TypeError:
        kind = type(values).__name__
        raise TypeError(
            f"fft_{name}(): argument '{argument}' must be tuple of ints, not {kind}"
        ) from None


def _dims(name: str, x: Tensor, s: Any, dim: Any) -> tuple[Dims, Dims]:
    """Return the canonical dimensions and the size wanted of each, -1 where none is given."""
    ndim = x._a.ndim
    sizes = None if s is None else _ints(name, "s", s)
    if dim is not None:
        given = _ints(name, "dim", dim)
        if given and not ndim:
            raise IndexError(f"Dimension specified as {given[0]} but tensor has no dimensions")
        dims = tuple([wrap_dim(d, ndim) for d in given])
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
        if sizes is not None and len(sizes) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    elif sizes is not None:
        if len(sizes) > ndim:
            raise RuntimeError(
                f"Got shape with {len(sizes)} values but input tensor only has {ndim} dimensions."
            )
        dims = tuple(range(ndim - len(sizes), ndim))
    else:
        dims = tuple(range(ndim))
    return dims, (-1,) * len(dims) if sizes is None else sizes


def _resized(x: Tensor, dims: Dims, sizes: Dims) -> Tensor:
    """Return the input cut off, or continued by zeros, to the given sizes; -1 keeps a size."""
    shape = x._a.shape
    after = [0] * len(shape)
    for d, n in zip(dims, sizes):
        if n == -1:
            _points(shape[d])
        elif _points(n) < shape[d]:
            x = x.narrow(d, 0, n)
        else:
            after[d] = n - shape[d]
    if not any(after):
        return x
    return pad(x, [v for n in reversed(after) for v in (0, n)])


# --- the six transforms, of any number of dimensions ---------------------------------------------


def _fft(x: Tensor, dims: Dims, sizes: Dims, norm: str) -> Tensor:
    return _c2c(_resized(_floating(x), dims, sizes), dim=dims, norm=norm, inverse=False)


def _ifft(x: Tensor, dims: Dims, sizes: Dims, norm: str) -> Tensor:
    return _c2c(_resized(_floating(x), dims, sizes), dim=dims, norm=norm, inverse=True)


def _rfft(x: Tensor, dims: Dims, sizes: Dims, norm: str) -> Tensor:
    return _r2c(_resized(_floating(x), dims, sizes), dim=dims, norm=norm)


def _irfft(x: Tensor, dims: Dims, sizes: Dims, norm: str) -> Tensor:
    x = _complexed(x)
    size = sizes[-1] if sizes[-1] != -1 else 2 * (x._a.shape[dims[-1]] - 1)
    x = _resized(x, dims, (*sizes[:-1], _points(size) // 2 + 1))
    return _c2r(x, dim=dims, norm=norm, size=size)


def _hfft(x: Tensor, dims: Dims, sizes: Dims, norm: str) -> Tensor:
    return _irfft(conj(x), dims, sizes, _ADJOINT[norm])


def _ihfft(x: Tensor, dims: Dims, sizes: Dims, norm: str) -> Tensor:
    return conj(_rfft(x, dims, sizes, _ADJOINT[norm]))


_FULL = {_fft, _ifft}
_FROM_REAL = {_rfft, _ihfft}
_TO_REAL = {_irfft, _hfft}


def _checked(name: str, core: Callable, x: Tensor, out: Tensor | None, many: bool) -> None:
    kind = x._dtype
    if core in _FROM_REAL and kind.is_complex:
        what = "real-valued" if many else "real"
        raise RuntimeError(f"{name} expects a {what} input tensor, but got {kind.scalar_name}")
    if out is None:
        return
    kind = out._dtype
    if core in _TO_REAL and not kind.is_floating_point:
        what = "floating point"
    elif core not in _TO_REAL and not kind.is_complex:
        what = "complex"
    else:
        return
    raise RuntimeError(f"{name} expects a {what} output tensor, but got {kind.scalar_name}")


def _along_one(name: str, core: Callable, doc: str) -> Callable:
    def function(
        input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *,
        out: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        _checked(name, core, input, out, False)
        ndim = input._a.ndim
        if not ndim:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        size = -1 if n is None else _points(_int(name, "n", n))
        result = core(input, (wrap_dim(dim, ndim),), (size,), _norm(norm))
        return result if out is None else write_out(out, result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _along_many(name: str, core: Callable, doc: str) -> Callable:
    default = (-2, -1) if name.endswith("2") else None

    def function(
        input: Tensor, s: Any = None, dim: Any = default, norm: str | None = None, *,
        out: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        _checked(name, core, input, out, True)
        if dim is None and default is not None:
            _ints(name, "dim", dim)
        dims, sizes = _dims(name, input, s, dim)
        if not dims and core not in _FULL:
            raise RuntimeError(f"{name} must transform at least one axis")
        result = core(input, dims, sizes, _norm(norm))
        return result if out is None else write_out(out, result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


# --- PyTorch's functions -------------------------------------------------------------------------

fft = _along_one(
    "fft", _fft,
    """Return the Fourier transform X[k] = Σ x[j] exp(-2πi jk/n) along one dimension.

    `norm="forward"` divides by n, `norm="ortho"` by √n.

    >>> import multitorch as torch
    >>> torch.fft.fft(torch.tensor([1.0, 2.0, 4.0, 2.0])).real
    tensor([ 9., -3.,  1., -3.])
    """,
)  # fmt: skip
ifft = _along_one("ifft", _ifft, "Return the inverse of `fft`, divided by n unless `norm` differs.")
rfft = _along_one(
    "rfft", _rfft,
    """Return the frequencies 0 … n/2 of a real input; the others are their conjugates.

    >>> import multitorch as torch
    >>> torch.fft.irfft(torch.fft.rfft(torch.tensor([1.0, 2.0, 3.0])), 3)
    tensor([1., 2., 3.])
    """,
)  # fmt: skip
irfft = _along_one("irfft", _irfft, "Return the inverse of `rfft`, of length n: 2(m-1) by default.")
hfft = _along_one("hfft", _hfft, "Return the real transform of half a Hermitian signal.")
ihfft = _along_one("ihfft", _ihfft, "Return the inverse of `hfft`: half a Hermitian signal.")

fft2 = _along_many("fft2", _fft, "Return the Fourier transform along two dimensions.")
ifft2 = _along_many("ifft2", _ifft, "Return the inverse of `fft2`.")
rfft2 = _along_many("rfft2", _rfft, "Return the last dimension's half of a real input's `fft2`.")
irfft2 = _along_many("irfft2", _irfft, "Return the inverse of `rfft2`.")
hfft2 = _along_many("hfft2", _hfft, "Return the real 2-d transform of half a Hermitian signal.")
ihfft2 = _along_many("ihfft2", _ihfft, "Return the inverse of `hfft2`.")

fftn = _along_many(
    "fftn", _fft,
    """Return the Fourier transform along several dimensions, all by default.

    `s` gives sizes to which the dimensions are cut off or continued by zeros; -1 keeps one.
    """,
)  # fmt: skip
ifftn = _along_many("ifftn", _ifft, "Return the inverse of `fftn`.")
rfftn = _along_many("rfftn", _rfft, "Return the last dimension's half of a real input's `fftn`.")
irfftn = _along_many("irfftn", _irfft, "Return the inverse of `rfftn`.")
hfftn = _along_many("hfftn", _hfft, "Return the real n-d transform of half a Hermitian signal.")
ihfftn = _along_many("ihfftn", _ihfft, "Return the inverse of `hfftn`.")

# --- frequencies ---------------------------------------------------------------------------------


def _frequencies(
    name: str, counts: Callable, n: int, d: float, out: Any, dtype: Any, device: Any, grad: bool
) -> Tensor:
    kind = dtypes.get_default_dtype() if dtype is None else to_dtype(dtype)
    if out is not None:
        kind, device = out._dtype, out._dev
    if not kind.inexact:
        raise RuntimeError(f"{name} requires a floating point or complex dtype, got {kind}")
    n = _int(name, "n", n)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    result = counts(n, dtype=kind, device=device) * (1.0 / (n * d) if n * d else inf)
    return finish(result, grad) if out is None else write_out(out, result)


def _both_signs(n: int, **options: Any) -> Tensor:
    return cat([arange(0, (n + 1) // 2, **options), arange(-(n // 2), 0, **options)])


def fftfreq(
    n: int, d: float = 1.0, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Return the frequencies of `fft`'s results for samples `d` apart.

    >>> import multitorch as torch
    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    return _frequencies("fftfreq", _both_signs, n, d, out, dtype, device, requires_grad)


def rfftfreq(
    n: int, d: float = 1.0, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Return the frequencies of `rfft`'s results for samples `d` apart."""

    def counts(n: int, **options: Any) -> Tensor:
        return arange(n // 2 + 1, **options)

    return _frequencies("rfftfreq", counts, n, d, out, dtype, device, requires_grad)


def _shifted(input: Tensor, dim: Any, extra: int) -> Tensor:
    shape = input._a.shape
    dims = tuple(range(len(shape))) if dim is None else _ints("fftshift", "dim", dim)
    return roll(input, [(shape[wrap_dim(d, len(shape))] + extra) // 2 for d in dims], dims)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Move the zero frequency from the front to the middle.

    >>> import multitorch as torch
    >>> torch.fft.fftshift(torch.fft.fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _shifted(input, dim, 0)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Undo `fftshift`."""
    return _shifted(input, dim, 1)
