"""Fourier transforms, short-time transforms and windows, beyond the operator database."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal.windows

import multitorch as mt
from tests.against_torch import compare

RNG = np.random.default_rng(3)
FROM_REAL = ("rfft", "ihfft")
KINDS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")


def data(kind: str, *shape: int) -> Any:
    x = RNG.standard_normal(shape)
    return x if kind.startswith(FROM_REAL) else x + 1j * RNG.standard_normal(shape)


def values(t: mt.Tensor) -> np.ndarray:
    return t.detach().cpu().numpy()


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 6])
def test_by_the_definition(device, n):
    x = data("fft", n)
    k = np.arange(n)
    expected = np.exp(-2j * np.pi * np.outer(k, k) / n) @ x
    np.testing.assert_allclose(values(mt.fft.fft(mt.tensor(x, device=device))), expected)
    half = mt.fft.rfft(mt.tensor(x.real.copy(), device=device))
    expected = np.exp(-2j * np.pi * np.outer(k, k) / n) @ x.real
    np.testing.assert_allclose(values(half), expected[: n // 2 + 1], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_against_scipy(device, kind):
    x = data(kind, 3, 4, 5)
    t = mt.tensor(x, device=device)
    last = 2 * (3 - 1) if kind in ("irfft", "hfft") else 3  # SciPy has no -1
    for name, norm, kwargs, sizes in (
        (kind, None, {"dim": 1}, {"axis": 1}),
        (kind, "ortho", {"n": 7, "dim": 0}, {"n": 7, "axis": 0}),
        (kind + "2", "forward", {"s": (3, 8)}, {"s": (3, 8)}),
        (kind + "n", "backward", {}, {}),
        (kind + "n", "ortho", {"s": (4, -1), "dim": (2, 0)}, {"s": (4, last), "axes": (2, 0)}),
    ):
        found = getattr(mt.fft, name)(t, norm=norm, **kwargs)
        expected = getattr(scipy.fft, name)(x, norm=norm, **sizes)
        assert found.device.type == t.device.type
        np.testing.assert_allclose(values(found), expected, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_four_dimensions(device, kind):
    x = data(kind, 2, 3, 2, 4)
    found = getattr(mt.fft, kind + "n")(mt.tensor(x, device=device))
    np.testing.assert_allclose(values(found), getattr(scipy.fft, kind + "n")(x), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("single", [True, False])
def test_precision_is_kept(device, kind, single):
    real, full = (mt.float32, mt.complex64) if single else (mt.float64, mt.complex128)
    x = mt.ones(4, dtype=real, device=device)
    to_real = kind in ("irfft", "hfft")
    transform = getattr(mt.fft, kind)
    assert transform(x).dtype is (real if to_real else full)
    if kind not in FROM_REAL:
        assert transform(x.to(full)).dtype is (real if to_real else full)


def test_integers_become_the_default_dtype(device):
    x = mt.arange(4, device=device)
    assert mt.fft.fft(x).dtype is mt.complex64
    assert mt.fft.rfft(x).real.tolist() == [6.0, -2.0, -2.0]


def test_no_dimension_and_no_element(device):
    x = mt.tensor([1.0, 2.0], device=device)
    assert mt.fft.fftn(x, dim=()).tolist() == [1, 2]
    assert mt.fft.fft(mt.ones(0, 3, device=device)).shape == (0, 3)
    assert mt.fft.rfft(mt.ones(0, 3, device=device)).shape == (0, 2)
    assert mt.fft.irfft(mt.ones(0, 3, device=device)).shape == (0, 4)


def test_frequencies(device):
    for n in (1, 4, 5):
        np.testing.assert_allclose(
            values(mt.fft.fftfreq(n, 0.5, device=device)), np.fft.fftfreq(n, 0.5)
        )
        np.testing.assert_allclose(
            values(mt.fft.rfftfreq(n, 0.5, device=device)), np.fft.rfftfreq(n, 0.5)
        )
        x = mt.arange(n, device=device)
        assert mt.fft.fftshift(x).tolist() == np.fft.fftshift(np.arange(n)).tolist()
        assert mt.fft.ifftshift(mt.fft.fftshift(x)).tolist() == x.tolist()
    assert mt.fft.fftfreq(0, device=device).shape == (0,)


# --- derivatives ---------------------------------------------------------------------------------


def inner(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(a.conj() * b).real)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_adjoint(device, kind):
    """For a linear A: ⟨g, A x⟩ = ⟨Aᵀ g, x⟩; and the gradient's own gradient is A again."""
    for shape, dims, norm in (((5,), (0,), "forward"), ((4, 3), (1, 0), "ortho")):
        x = mt.tensor(data(kind, *shape), device=device, requires_grad=True)
        y = getattr(mt.fft, kind + "n")(x, dim=dims, norm=norm)
        g = RNG.standard_normal(y.shape) + (1j * RNG.standard_normal(y.shape)) * y.is_complex()
        g = mt.tensor(g if y.is_complex() else g.real, device=device, requires_grad=True)
        (dx,) = mt.autograd.grad(y, x, g, create_graph=True)
        assert dx.dtype is x.dtype
        np.testing.assert_allclose(inner(values(g), values(y)), inner(values(dx), values(x)))
        (again,) = mt.autograd.grad(dx, g, x)
        np.testing.assert_allclose(values(again), values(y), atol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("center", "normalized", "pad_mode"),
    [
        (True, False, "reflect"), (True, True, "constant"), (True, False, "replicate"),
        (True, True, "circular"), (False, True, "reflect"),
    ],
)  # fmt: skip
def test_stft(oracle, device, center, normalized, pad_mode):
    def function(lib, x, w):
        options = {"center": center, "normalized": normalized, "pad_mode": pad_mode}
        return lib.stft(x, 8, 3, 6, w, return_complex=True, **options)

    compare(oracle, device, function, RNG.standard_normal((2, 20)), RNG.random(6) + 0.5)


@pytest.mark.oracle
def test_stft_of_complex_signals_and_whole_spectra(oracle, device):
    x, w = data("fft", 20), RNG.random(8)
    compare(oracle, device, lambda lib, x, w: lib.stft(x, 8, 2, window=w), x, w)
    compare(
        oracle, device,
        lambda lib, x, w: x.stft(8, 2, window=w, onesided=False, return_complex=True),
        x.real.copy(), w,
    )  # fmt: skip
    compare(
        oracle, device,
        lambda lib, x, w: x.stft(
            8, 2, 5, w, center=False, return_complex=True, align_to_window=True
        ),
        x.real.copy(), w[:5].copy(),
    )  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("length", [None, 15])
def test_istft(oracle, device, length):
    def function(lib, x, w):
        return x.istft(8, 2, 6, w, length=length)

    compare(oracle, device, function, data("fft", 2, 5, 10), RNG.random(6) + 0.5)


# --- the short-time transform --------------------------------------------------------------------


@pytest.mark.parametrize(("onesided", "normalized"), [(True, False), (False, True)])
def test_istft_undoes_stft(device, onesided, normalized):
    x = mt.randn(2, 30, device=device, dtype=mt.float64)
    window = mt.hann_window(8, device=device, dtype=mt.float64)
    options = {"window": window, "normalized": normalized, "onesided": onesided}
    spectrum = mt.stft(x, 8, **options, return_complex=True)
    mt.testing.assert_close(mt.istft(spectrum, 8, **options), x)
    longer = spectrum.repeat(2, 1, 1)[0]
    with pytest.warns(UserWarning, match="shorter than the length"):
        padded = mt.istft(longer, 8, **options, length=40)
    assert padded.shape == (40,) and not padded[34:].any()


def test_stft_errors(device):
    x, w = mt.randn(20, device=device), mt.ones(8, device=device)
    options = {"window": w, "return_complex": True}
    with pytest.raises(RuntimeError, match="requires the return_complex parameter"):
        mt.stft(x, 8, window=w)
    with pytest.raises(RuntimeError, match="Cannot have onesided output"):
        mt.stft(x.to(mt.complex64), 8, onesided=True, **options)
    with pytest.raises(RuntimeError, match="expected hop_length > 0"):
        mt.stft(x, 8, 0, **options)
    with pytest.raises(RuntimeError, match="expected 0 < win_length <= n_fft"):
        mt.stft(x, 8, 2, 9, **options)
    with pytest.raises(RuntimeError, match="expected a 1D window tensor"):
        mt.stft(x, 8, 2, 6, **options)
    with pytest.raises(RuntimeError, match="expected a 1D or 2D tensor"):
        mt.stft(x[None, None], 8, **options)
    with pytest.raises(RuntimeError, match="expected 0 < n_fft < 20"):
        mt.stft(x, 30, window=mt.ones(30, device=device), return_complex=True, center=False)
    with pytest.raises(RuntimeError, match="align_to_window"):
        mt.stft(x, 8, align_to_window=True, **options)
    with pytest.warns(UserWarning, match="window was not provided"):
        mt.stft(x, 8, return_complex=True)
    with pytest.warns(UserWarning, match="deprecated"):
        assert mt.stft(x, 8, window=w, return_complex=False).shape == (5, 11, 2)


def test_istft_errors(device):
    x = mt.randn(5, 6, device=device, dtype=mt.complex64)
    w = mt.ones(8, device=device)
    with pytest.raises(RuntimeError, match="complex-valued input"):
        mt.istft(x.real, 8, window=w)
    with pytest.raises(RuntimeError, match="window overlap add min"):
        mt.istft(x, 8, window=w * 0)
    with pytest.raises(RuntimeError, match="match n_fft when onesided=False"):
        mt.istft(x, 8, window=w, onesided=False)
    with pytest.raises(RuntimeError, match="cannot be empty"):
        mt.istft(x[:, :0], 8, window=w)
    with pytest.raises(RuntimeError, match="expected 0 < hop_length <= win_length"):
        mt.istft(x, 8, 9, window=w)
    with pytest.raises(RuntimeError, match="Complex windows"):
        mt.istft(x, 8, window=w.to(mt.complex64))


# --- windows -------------------------------------------------------------------------------------

WINDOWS = {
    "bartlett": (), "blackman": (), "cosine": (), "exponential": (), "gaussian": (1.5,),
    "general_cosine": ([0.6, 0.3, 0.1],), "general_hamming": (0.7,), "hamming": (), "hann": (),
    "kaiser": (3.0,), "nuttall": (),
}  # fmt: skip
ARGUMENT = {
    "gaussian": ["std"], "general_cosine": ["a"], "general_hamming": ["alpha"], "kaiser": ["beta"]
}  # fmt: skip


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows_against_scipy(device, name, sym):
    arguments = WINDOWS[name]
    kwargs = dict(zip(ARGUMENT.get(name, ()), arguments, strict=True))
    for n in (1, 7):
        found = getattr(mt.signal.windows, name)(
            n, sym=sym, dtype=mt.float64, device=device, **kwargs
        )
        expected = getattr(scipy.signal.windows, name)(n, *arguments, sym=sym)
        assert found.device.type == mt.device(device).type
        np.testing.assert_allclose(values(found), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hann", "kaiser"])
@pytest.mark.parametrize("periodic", [True, False])
def test_older_windows(device, name, periodic):
    older = getattr(mt, name + "_window")
    for n in (1, 7):
        kwargs = {"dtype": mt.float64, "device": device}
        expected = getattr(mt.signal.windows, name)(n, sym=not periodic, **kwargs)
        mt.testing.assert_close(older(n, periodic, **kwargs), expected, atol=1e-12, rtol=1e-9)
    assert older(5, dtype=mt.bfloat16, device=device).dtype is mt.bfloat16
    assert older(5, requires_grad=True, device=device).is_leaf
    with pytest.raises(RuntimeError, match="requires non-negative window_length"):
        older(-1)
    with pytest.raises(RuntimeError, match="expects floating point dtypes"):
        older(5, dtype=mt.int64)
    with pytest.raises(TypeError, match="must be int, not float"):
        older(5.0)


def test_window_parameters(device):
    expected = 0.3 - 0.2 * np.cos(2 * np.pi * np.arange(5) / 5)
    found = mt.hamming_window(5, True, 0.3, 0.2, device=device)
    np.testing.assert_allclose(values(found), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="Center must be None"):
        mt.signal.windows.exponential(5, center=1.0)
    with pytest.raises(ValueError, match="Tau must be positive"):
        mt.signal.windows.exponential(5, tau=0)
    with pytest.raises(ValueError, match="Standard deviation must be positive"):
        mt.signal.windows.gaussian(5, std=0)
    with pytest.raises(TypeError, match="must be a list/tuple"):
        mt.signal.windows.general_cosine(5, a=0.5)
    with pytest.raises(ValueError, match="cannot be empty"):
        mt.signal.windows.general_cosine(5, a=[])


# --- errors, compile, meta -----------------------------------------------------------------------


def test_errors(device):
    x = mt.randn(3, 4, device=device)
    c = x.to(mt.complex64)
    for dtype, text in ((mt.float16, "Half"), (mt.bfloat16, "BFloat16")):
        with pytest.raises(RuntimeError, match=f"Unsupported dtype {text}"):
            mt.fft.fft(x.to(dtype))
    with pytest.raises(RuntimeError, match="rfft expects a real input tensor"):
        mt.fft.rfft(c)
    with pytest.raises(RuntimeError, match="rfftn expects a real-valued input tensor"):
        mt.fft.rfftn(c)
    with pytest.raises(RuntimeError, match=r"Invalid number of data points \(0\)"):
        mt.fft.fft(x, 0)
    with pytest.raises(RuntimeError, match=r"Invalid number of data points \(0\)"):
        mt.fft.irfft(x[:, :1])
    with pytest.raises(RuntimeError, match='Invalid normalization mode: "foo"'):
        mt.fft.fft(x, norm="foo")
    with pytest.raises(RuntimeError, match="FFT dims must be unique"):
        mt.fft.fftn(x, dim=(1, -1))
    with pytest.raises(RuntimeError, match="must have the same length"):
        mt.fft.fftn(x, s=(2,), dim=(0, 1))
    with pytest.raises(RuntimeError, match="only has 2 dimensions"):
        mt.fft.fftn(x, s=(2, 2, 2))
    with pytest.raises(RuntimeError, match="must transform at least one axis"):
        mt.fft.rfftn(x, dim=())
    with pytest.raises(IndexError, match="Dimension out of range"):
        mt.fft.fft(x, dim=2)
    with pytest.raises(IndexError, match="tensor has no dimensions"):
        mt.fft.fft(x[0, 0])
    with pytest.raises(TypeError, match="must be int, not float"):
        mt.fft.fft(x, 2.0)
    with pytest.raises(TypeError, match="must be tuple of ints, not NoneType"):
        mt.fft.fft2(x, dim=None)
    with pytest.raises(RuntimeError, match="fft expects a complex output tensor"):
        mt.fft.fft(x, out=x)
    with pytest.raises(RuntimeError, match="expects a floating point output tensor"):
        mt.fft.hfft(c, out=c)
    with pytest.raises(RuntimeError, match="requires a floating point or complex dtype"):
        mt.fft.fftfreq(3, dtype=mt.int32)


def test_meta_device_gives_shapes_and_dtypes():
    x = mt.empty(3, 5, device="meta")
    cases = {"fft2": (3, 5), "rfft2": (3, 3), "ihfft2": (3, 3), "irfft2": (3, 8), "hfft2": (3, 8)}
    for name, shape in cases.items():
        y = getattr(mt.fft, name)(x)
        to_real = name in ("irfft2", "hfft2")
        assert (y.shape, y.dtype) == (shape, mt.float32 if to_real else mt.complex64), name
    w = mt.hann_window(4, device="meta")
    spectrum = mt.stft(x, 4, window=w, return_complex=True)
    assert (spectrum.shape, spectrum.dtype) == ((3, 3, 6), mt.complex64)
    assert mt.istft(spectrum, 4, window=w).shape == (3, 5)


def test_compiled(device):
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    pytest.importorskip("jax", reason="compile needs JAX")

    def f(x, c):
        window = mt.hann_window(4, device=device)
        spectrum = mt.stft(x, 4, window=window, return_complex=True)
        back = mt.istft(spectrum * c, 4, window=window)
        loss = (mt.fft.irfftn(mt.fft.rfftn(back.reshape(2, 4)) * 2, s=(2, 4)) ** 3).sum()
        return (loss, *mt.autograd.grad(loss, [x, c]))

    x = mt.randn(8, device=device, requires_grad=True)
    c = mt.randn(3, 1, device=device, dtype=mt.complex64, requires_grad=True)
    compiled = mt.compile(f, fullgraph=True)
    for _ in range(2):
        for found, expected in zip(compiled(x, c), f(x, c), strict=True):
            mt.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert compiled.compiles == 1
