"""The short-time Fourier transform and its inverse, over framing, windows and transforms."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from multitorch.ops.apply import world_for
from multitorch.ops.creation import ones
from multitorch.ops.fft import fft, ifft, irfft, rfft
from multitorch.ops.op import REGISTRY
from multitorch.ops.shape import pad
from multitorch.ops.views import view_as_real

Tensor = Any
_NO_WINDOW = (
    "A window was not provided. A rectangular window will be applied, which is known to cause "
    "spectral leakage. Other windows such as torch.hann_window or torch.hamming_window are "
    "recommended to reduce spectral leakage. To suppress this warning and use a rectangular "
    "window, explicitly set `window=torch.ones(n_fft, device=<device>)`."
)
_NO_WINDOW_BACK = (
    "A window was not provided. A rectangular window will be applied. Please provide the same "
    "window used by stft to make the inversion lossless. To suppress this warning and use a "
    "rectangular window, explicitly set `window=torch.ones(n_fft, device=<device>)`."
)
_NOT_COMPLEX = (
    "stft with return_complex=False is deprecated. In a future pytorch release, stft will return "
    "complex tensors for all inputs, and return_complex=False will raise an error. Note: you can "
    "still call torch.view_as_real on the complex output to recover the old return format."
)


def _is_complex(t: Tensor | None) -> bool:
    return t is not None and t._dtype.is_complex


class _Call:
    """What both directions know of their arguments; it explains what is wrong with one."""

    def __init__(
        self, name: str, x: Tensor, n_fft: int, hop: int | None, length: int | None,
        window: Tensor | None,
    ) -> None:  # fmt: skip
        self.name, self.x, self.n_fft, self.window = name, x, n_fft, window
        self.hop = n_fft // 4 if hop is None else hop
        self.length = n_fft if length is None else length

    def expect(self, condition: bool, message: str) -> None:
        if condition:
            return
        given = f"{self.x._dtype.scalar_name}{list(self.x.shape)}, n_fft={self.n_fft}"
        window = None if self.window is None else list(self.window.shape)
        raise RuntimeError(
            f"{self.name}({given}, hop_length={self.hop}, win_length={self.length}, "
            f"window={window}): {message}"
        )

    def full_window(self) -> Tensor | None:
        """Return the window with zeros on both sides, `n_fft` long; None if it has no effect."""
        window, n, length = self.window, self.n_fft, self.length
        if length == n:
            return window
        if window is None:
            window = ones(length, dtype=self.x._dtype.to_real(), device=self.x._dev)
        before = (n - length) // 2
        return pad(window, (before, n - length - before))


def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect",
    normalized: bool = False, onesided: bool | None = None, return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:  # fmt: skip
    """Return the Fourier transforms of a signal's windows: (batch?, frequency, frame).

    Windows begin `hop_length` apart (a quarter of `n_fft` by default); with `center` the t-th one
    lies around sample `t * hop_length`.

    >>> import multitorch as torch
    >>> torch.stft(torch.ones(8), 4, window=torch.hann_window(4), return_complex=True).shape
    torch.Size([3, 9])
    """
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    if window is None:
        warnings.warn(_NO_WINDOW, UserWarning, stacklevel=2)
    if center and input.ndim in (1, 2):
        input = _extended(input, n_fft // 2, n_fft // 2, pad_mode)
    call = _Call("stft", input, n_fft, hop_length, win_length, window)
    inexact = input._dtype.is_complex or _is_complex(window)
    if return_complex is None:
        if not inexact:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will "
                "further require that return_complex=True in a future PyTorch release."
            )
        return_complex = True
    elif not return_complex:
        warnings.warn(_NOT_COMPLEX, UserWarning, stacklevel=2)
    _check(call)
    if onesided and inexact:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    frames = _frames(call, bool(align_to_window))
    transform = fft if inexact or onesided is False else rfft
    result = transform(frames, norm="ortho" if normalized else None).transpose(-1, -2)
    return result if return_complex else view_as_real(result)


def _extended(x: Tensor, before: int, after: int, mode: str) -> Tensor:
    """Pad the last dimension in any mode."""
    shape = tuple(x.shape)
    whole = pad(x.reshape((1,) * (3 - len(shape)) + shape), (before, after), mode)
    return whole.reshape(*shape[:-1], whole.shape[-1])


def _check(call: _Call) -> None:
    x, n_fft, window = call.x, call.n_fft, call.window
    call.expect(x._dtype.inexact, "expected a tensor of floating point or complex values")
    call.expect(x.ndim in (1, 2), "expected a 1D or 2D tensor")
    size = x.shape[-1]
    call.expect(0 < n_fft <= size, f"expected 0 < n_fft < {size}, but got n_fft={n_fft}")
    call.expect(call.hop > 0, f"expected hop_length > 0, but got hop_length={call.hop}")
    call.expect(
        0 < call.length <= n_fft,
        f"expected 0 < win_length <= n_fft, but got win_length={call.length}",
    )
    if window is not None:
        call.expect(
            tuple(window.shape) == (call.length,),
            f"expected a 1D window tensor of size equal to win_length={call.length}, but got "
            f"window with size {list(window.shape)}",
        )


def _frames(call: _Call, align: bool) -> Tensor:
    """Return the windowed pieces of the signal: (batch?, frame, n_fft)."""
    x, n_fft, window = call.x, call.n_fft, call.full_window()
    if align:  # the window, not the zeros around it, begins with the signal
        missing = n_fft - call.length
        x = pad(x, (missing // 2, missing - missing // 2))
    frames = x.unfold(-1, n_fft, call.hop)
    return frames if window is None else frames * window


# --- the inverse ---------------------------------------------------------------------------------


def istft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, normalized: bool = False,
    onesided: bool | None = None, length: int | None = None, return_complex: bool = False,
) -> Tensor:  # fmt: skip
    """Return the signal whose `stft` is nearest to the input, `length` samples of it.

    >>> import multitorch as torch
    >>> x, window = torch.arange(8.0), torch.hann_window(4)
    >>> y = torch.istft(torch.stft(x, 4, window=window, return_complex=True), 4, window=window)
    >>> torch.allclose(x, y, atol=1e-5)
    True
    """
    if window is None:
        warnings.warn(_NO_WINDOW_BACK, UserWarning, stacklevel=2)
    call = _Call("istft", input, n_fft, hop_length, win_length, window)
    onesided = _check_inverse(call, onesided, return_complex)
    x = (input.unsqueeze(0) if input.ndim == 2 else input).transpose(1, 2)
    norm = "ortho" if normalized else None
    if return_complex:
        frames = ifft(x, norm=norm)
    else:
        frames = irfft(x if onesided else x.narrow(-1, 0, n_fft // 2 + 1), n_fft, norm=norm)
    start = n_fft // 2 if center else 0
    whole = n_fft + call.hop * (x.shape[1] - 1)
    end = whole - start if length is None else start + length
    y = _overlapped(call, frames, whole, start, min(end, whole))
    if end > whole:
        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded "
            "with zeros in the tail. Please check your center and hop_length settings.",
            UserWarning,
            stacklevel=2,
        )
        y = pad(y, (0, end - whole))
    return y.squeeze(0) if input.ndim == 2 else y


def _check_inverse(call: _Call, onesided: bool | None, return_complex: bool) -> bool:
    """Check the arguments of `istft`; return whether the input holds half the frequencies."""
    x, n_fft, window = call.x, call.n_fft, call.window
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not x._dtype.is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with "
            "return_complex=True."
        )
    call.expect(x.numel() > 0, "input tensor cannot be empty.")
    call.expect(x.ndim in (2, 3), f"expected a tensor with 3 or 4 dimensions, but got {x.ndim + 1}")
    size = x.shape[-2]
    half = size != n_fft if onesided is None else onesided
    wanted, what = (n_fft // 2 + 1, "n_fft / 2 + 1") if half else (n_fft, "n_fft")
    call.expect(
        size == wanted,
        f"expected the frequency dimension (3rd to the last) of the input tensor to match {what} "
        f"when onesided={half}, but got {size}",
    )
    if return_complex and half:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    call.expect(0 < call.hop <= call.length, "expected 0 < hop_length <= win_length")
    call.expect(0 < call.length <= n_fft, "expected 0 < win_length <= n_fft")
    if window is not None:
        call.expect(
            tuple(window.shape) == (call.length,),
            "Invalid window shape. window has to be 1D and length of `win_length`",
        )
    if _is_complex(window) and not return_complex:
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    return half


def _overlapped(call: _Call, frames: Tensor, whole: int, start: int, end: int) -> Tensor:
    """Add up windowed frames where they overlap, divided by the sum of the squared windows."""
    add, count = REGISTRY["unfold_backward"].apply, frames.shape[1]
    params: dict[str, Any] = {"dim": 1, "size": call.n_fft, "step": call.hop}
    window = call.full_window()
    if window is None:
        window = ones(call.n_fft, dtype=call.x._dtype.to_real(), device=call.x._dev)
    y = add(frames * window, shape=(frames.shape[0], whole), **params)
    squares = (window * window).expand(1, count, call.n_fft)
    envelope = add(squares, shape=(1, whole), **params).narrow(1, start, end - start)
    if not (world_for(envelope._dev).records or envelope._dev.type == "meta"):  # no number yet
        lowest = envelope.detach().abs().min().item()
        call.expect(lowest >= 1e-11, f"window overlap add min: {lowest}")
    return y.narrow(1, start, end - start) / envelope


FUNCTIONS: dict[str, Callable] = {"stft": stft, "istft": istft}
METHODS: dict[str, Callable] = dict(FUNCTIONS)
