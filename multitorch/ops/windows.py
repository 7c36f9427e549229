"""Windows: weights that let a piece of a signal fade in and out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import dtype as DType
from multitorch.dtypes import to_dtype
from multitorch.layout import strided
from multitorch.ops.creation import finish, ones, zeros
from multitorch.ops.ranges import arange, linspace

Tensor = Any

# --- `torch.signal.windows` ----------------------------------------------------------------------


def _kind(name: str, M: int, dtype: Any, layout: Any) -> DType:
    """Check the arguments that all windows share; return the dtype."""
    kind = dtypes.get_default_dtype() if dtype is None else to_dtype(dtype)
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not None and layout is not strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if kind not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {kind}")
    return kind


def _window(
    name: str, M: int, dtype: Any, layout: Any, device: Any, requires_grad: bool, body: Callable
) -> Tensor:
    """Return the window `body(dtype)` makes; short ones need no formula."""
    kind = _kind(name, M, dtype, layout)
    short = zeros if M == 0 else ones
    result = short(M, dtype=kind, device=device) if M < 2 else body(kind)
    return finish(result, requires_grad)


def _cosines(M: int, a: Sequence[float], sym: bool, kind: DType, device: Any) -> Tensor:
    """Return the sum of `a[i] cos(i k)`, where k goes from -π to π."""
    end = pi if sym else pi * (1 - 2 / M)
    k = linspace(-pi, end, M, dtype=kind, device=device)
    total: Any = a[0] * (k * 0).cos()
    for i, weight in enumerate(a[1:], 1):
        total = total + weight * (k * i).cos()
    return total


def general_cosine(
    M: int, *, a: Sequence[float], sym: bool = True, dtype: Any = None, layout: Any = strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return the sum of cosines Σ (-1)^i a[i] cos(2πin/(M-1)); without `sym`, M for M-1."""
    if M > 0 and not isinstance(a, (list, tuple)):
        raise TypeError("Coefficients must be a list/tuple")
    if M > 1 and not a:
        raise ValueError("Coefficients cannot be empty")
    return _window(
        "general_cosine", M, dtype, layout, device, requires_grad,
        lambda kind: _cosines(M, a, sym, kind, device),
    )  # fmt: skip


def _of_cosines(name: str, a: tuple[float, ...], doc: str) -> Callable:
    def function(
        M: int, *, sym: bool = True, dtype: Any = None, layout: Any = strided,
        device: Any = None, requires_grad: bool = False,
    ) -> Tensor:  # fmt: skip
        return _window(
            name, M, dtype, layout, device, requires_grad,
            lambda kind: _cosines(M, a, sym, kind, device),
        )  # fmt: skip

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return `alpha - (1 - alpha) cos(2πn/(M-1))`."""
    return general_cosine(
        M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


hamming = _of_cosines("hamming", (0.54, 0.46), "Return `0.54 - 0.46 cos(2πn/(M-1))`.")
hann = _of_cosines(
    "hann", (0.5, 0.5),
    """Return `sin²(πn/(M-1))`; without `sym` the period is M, for spectral analysis.

    >>> import multitorch as torch
    >>> torch.signal.windows.hann(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """,
)  # fmt: skip
blackman = _of_cosines(
    "blackman", (0.42, 0.5, 0.08), "Return `0.42 - 0.5 cos(2πn/(M-1)) + 0.08 cos(4πn/(M-1))`."
)
nuttall = _of_cosines(
    "nuttall", (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "Return Nuttall's minimum four-term Blackman-Harris window.",
)  # fmt: skip


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return a triangle from 0 over 1 to 0."""

    def body(kind: DType) -> Tensor:
        end = 1.0 if sym else 1 - 2 / M
        return 1 - linspace(-1.0, end, M, dtype=kind, device=device).abs()

    return _window("bartlett", M, dtype, layout, device, requires_grad, body)


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = strided, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return half a period of a sine, `sin(π(n + 1/2)/M)`."""

    def body(kind: DType) -> Tensor:
        step = pi / (M if sym else M + 1)
        return (arange(M, dtype=kind, device=device) * step + step / 2).sin()

    return _window("cosine", M, dtype, layout, device, requires_grad, body)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
    layout: Any = strided, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return `exp(-|n - center| / tau)`."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def body(kind: DType) -> Tensor:
        middle = ((M - 1) if sym else M) / 2 if center is None else center
        return (-(arange(M, dtype=kind, device=device) - middle).abs() / tau).exp()

    return _window("exponential", M, dtype, layout, device, requires_grad, body)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return a Gaussian of standard deviation `std` around the middle."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def body(kind: DType) -> Tensor:
        middle = ((M - 1) if sym else M) / 2
        k = (arange(M, dtype=kind, device=device) - middle) / (std * 2**0.5)
        return (-(k**2)).exp()

    return _window("gaussian", M, dtype, layout, device, requires_grad, body)


def _kaiser(n: Tensor, span: float, beta: float) -> Tensor:
    """Return `I0(beta √(1 - x²)) / I0(beta)` at the points n, where x goes from -1 to 1."""
    x = n * (2 / span) - 1
    return ((1 - x * x).clamp(min=0).sqrt() * beta).i0() / (n[:1] * 0 + beta).i0()


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = strided,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return the Kaiser window; the larger `beta`, the narrower."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _window(
        "kaiser", M, dtype, layout, device, requires_grad,
        lambda kind: _kaiser(arange(M, dtype=kind, device=device), M - 1 if sym else M, beta),
    )  # fmt: skip


# --- the older functions -------------------------------------------------------------------------


def _length(name: str, n: Any, kind: DType, layout: Any) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(
            f"{name}(): argument 'window_length' (position 1) must be int, not {type(n).__name__}"
        )
    if layout is not None and layout is not strided:
        raise RuntimeError(f"{name} is not implemented for sparse types, got: layout={layout}")
    if not kind.inexact:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {kind}")
    if n < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={n}")
    if kind.is_complex and n > 1:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{kind.scalar_name}'")
    return n.__index__()


def _older(
    name: str, n: int, periodic: bool, formula: Callable[[Tensor, int], Tensor], dtype: Any,
    layout: Any, device: Any, requires_grad: bool,
) -> Tensor:  # fmt: skip
    """Return `formula(0 … n-1, the number of steps in the window)`, in float32 at least."""
    kind = dtypes.get_default_dtype() if dtype is None else to_dtype(dtype)
    n = _length(name, n, kind, layout)
    if n < 2:
        return finish(ones(n, dtype=kind, device=device), requires_grad)
    wide = dtypes.float32 if kind.itemsize == 2 else kind
    points = arange(n, dtype=wide, device=device)
    return finish(formula(points, n if periodic else n - 1).to(kind), requires_grad)


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return `sin²(πn/N)`, where N is the length, or one less if not periodic.

    >>> import multitorch as torch
    >>> torch.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _older(
        "hann_window", window_length, periodic, lambda n, N: _hamming(n, N, 0.5, 0.5),
        dtype, layout, device, requires_grad,
    )  # fmt: skip


def _hamming(n: Tensor, N: int, alpha: float, beta: float) -> Tensor:
    return (n * (2 * pi / N)).cos() * -beta + alpha


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
    dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return `alpha - beta cos(2πn/N)`, where N is the length, or one less if not periodic."""
    return _older(
        "hamming_window", window_length, periodic, lambda n, N: _hamming(n, N, alpha, beta),
        dtype, layout, device, requires_grad,
    )  # fmt: skip


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return a triangle from 0 over 1 to 0, whose last 0 is left out if periodic."""
    return _older(
        "bartlett_window", window_length, periodic, lambda n, N: 1 - (n * (2 / N) - 1).abs(),
        dtype, layout, device, requires_grad,
    )  # fmt: skip


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return `0.42 - 0.5 cos(2πn/N) + 0.08 cos(4πn/N)`, where N is the length, or one less."""

    def formula(n: Tensor, N: int) -> Tensor:
        angle = n * (2 * pi / N)
        return (angle * 2).cos() * 0.08 - angle.cos() * 0.5 + 0.42

    return _older(
        "blackman_window", window_length, periodic, formula, dtype, layout, device, requires_grad
    )


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return `I0(beta √(1 - (2n/N - 1)²)) / I0(beta)`, where N is the length, or one less."""
    return _older(
        "kaiser_window", window_length, periodic, lambda n, N: _kaiser(n, N, beta),
        dtype, layout, device, requires_grad,
    )  # fmt: skip


FUNCTIONS: dict[str, Callable] = {
    f.__name__: f
    for f in (hann_window, hamming_window, bartlett_window, blackman_window, kaiser_window)
}
