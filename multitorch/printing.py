"""The text of a tensor, as PyTorch prints it.

The steps: cut a large array down to its edges, decide from what is left how numbers are written
(fixed, integral or scientific, and how wide), lay the rows out, add the suffixes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

import numpy as np

from multitorch.dtypes import bool_, complex64, complex128, dtype, float64, get_default_dtype, int64


@dataclass(slots=True)
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": _Options(),
    "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=inf),
}
_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Choose how tensors print; ``profile`` is ``"default"``, ``"short"`` or ``"full"``.

    ``sci_mode`` returns to automatic (None) in every call that does not give it, as in PyTorch.
    """
    if profile is not None and profile not in _PROFILES:
        raise ValueError(f"profile must be one of {', '.join(_PROFILES)}, got {profile!r}")
    start = _options if profile is None else _PROFILES[profile]
    given = dict(precision=precision, threshold=threshold, edgeitems=edgeitems, linewidth=linewidth)
    for name, value in given.items():
        setattr(_options, name, getattr(start, name) if value is None else value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """Return the options now in force, by name."""
    return asdict(_options)


@contextmanager
def printoptions(**kwargs: Any) -> Iterator[None]:
    """Set options as `set_printoptions` does, for the length of a ``with`` block."""
    before = get_printoptions()
    set_printoptions(**kwargs)
    try:
        yield
    finally:
        set_printoptions(**before)


def tensor_str(
    a: np.ndarray,
    *,
    dtype: dtype,
    device_suffix: str | None = None,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    indent: int = 0,
    prefix: str = "tensor(",
) -> str:
    """Return the repr of a tensor with the values ``a``.

    >>> from multitorch.dtypes import float64
    >>> print(tensor_str(np.array([[1, 2.5]]), dtype=float64, grad_fn_name="MulBackward0"))
    tensor([[1.0000, 2.5000]], dtype=torch.float64, grad_fn=<MulBackward0>)
    """
    column = indent + len(prefix)
    if a.size:
        body, size = _body(a, column), None if _options.edgeitems else a.shape
        usual = _has_usual_dtype(dtype)
    else:
        body, size = "[]", None if a.ndim == 1 else a.shape
        usual = dtype is get_default_dtype()
    suffixes = _suffixes(device_suffix, size, None if usual else dtype, requires_grad, grad_fn_name)
    return _with_suffixes(prefix + body, suffixes, column)


def meta_str(
    shape: Sequence[int],
    *,
    dtype: dtype,
    device_suffix: str | None = "device='meta'",
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    indent: int = 0,
    prefix: str = "tensor(",
) -> str:
    """Return the repr of a tensor that has no values, as one on the device "meta"."""
    usual = dtype is get_default_dtype()
    suffixes = _suffixes(
        device_suffix, tuple(shape), None if usual else dtype, requires_grad, grad_fn_name
    )
    return _with_suffixes(prefix + "...", suffixes, indent + len(prefix))


def _suffixes(
    device: str | None,
    size: tuple[int, ...] | None,
    dtype: dtype | None,
    requires_grad: bool,
    grad_fn_name: str | None,
) -> list[str]:
    out = [device] if device else []
    if size is not None:
        out.append(f"size={size}")
    if dtype is not None:
        out.append(f"dtype={dtype!r}")
    if grad_fn_name is not None:
        out.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        out.append("requires_grad=True")
    return out


def _with_suffixes(text: str, suffixes: list[str], column: int) -> str:
    # PyTorch counts the last line two characters longer than it is
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * column + suffix
            used = column + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


def _has_usual_dtype(d: dtype) -> bool:
    """Say whether reading the printed numbers gives this dtype without being told."""
    default = get_default_dtype()
    return d in (default, int64, bool_, complex128 if default is float64 else complex64)


def _body(a: np.ndarray, column: int) -> str:
    summarize = a.size > _options.threshold
    shown = _edges(a) if summarize else a
    if shown.dtype.kind == "c":
        form, width = _complex_format(shown)
    elif shown.dtype.kind in "biu":
        form, width = _plain_format(shown)
    else:
        form, width = _real_format(shown.astype(np.float64))
    return _layout(a, column, summarize, form, width)


def _edges(a: np.ndarray) -> np.ndarray:
    """Keep the first and last ``edgeitems`` along every dim that is longer than both."""
    edge = _options.edgeitems
    for dim, length in enumerate(a.shape):
        if length > 2 * edge:
            keep = [*range(edge), *range(length - edge, length)]
            a = a[(slice(None),) * dim + (np.array(keep, dtype=np.intp),)]
    return a


_Form = Callable[[Any], str]


def _plain_format(a: np.ndarray) -> tuple[_Form, int]:
    width = max((len(str(v)) for v in a.ravel().tolist()), default=1)
    return (lambda v: str(v).rjust(width)), width


def _real_format(a: np.ndarray) -> tuple[_Form, int]:
    telling = a[np.isfinite(a) & (a != 0)]
    if not telling.size:
        return _integral, 1
    integral, scientific = _number_style(telling)
    if _options.sci_mode is not None:
        scientific = _options.sci_mode
    if scientific:
        form = f"{{:.{_options.precision}e}}".format
    else:
        form = _integral if integral else f"{{:.{_options.precision}f}}".format
    width = max(len(form(v)) for v in telling.tolist())
    return (lambda v: form(v).rjust(width)), width


def _integral(v: float) -> str:
    return f"{v:.0f}." if isfinite(v) else f"{v:.0f}"


def _number_style(telling: np.ndarray) -> tuple[bool, bool]:
    """Decide on (integral, scientific) from the finite values that are not zero."""
    size = np.abs(telling)
    low, high = float(size.min()), float(size.max())
    integral = bool((telling == np.ceil(telling)).all())
    wide = high / low > 1000 or high > 1e8
    return integral, wide or (not integral and low < 1e-4)


def _complex_format(a: np.ndarray) -> tuple[_Form, int]:
    real, real_width = _real_format(np.real(a).astype(np.float64))
    imag, imag_width = _real_format(np.imag(a).astype(np.float64))

    def form(v: complex) -> str:
        second = imag(v.imag).lstrip()
        sign = "" if second[0] in "+-" else "+"
        return f"{real(v.real)}{sign}{second}j"

    return form, real_width + imag_width + 1


def _layout(a: np.ndarray, column: int, summarize: bool, form: _Form, width: int) -> str:
    if a.ndim == 0:
        return form(_item(a))
    edge = _options.edgeitems
    cut = summarize and len(a) > 2 * edge
    if a.ndim == 1:
        return _vector(a, column, cut, form, width)

    def inner(rows: np.ndarray) -> list[str]:
        return [_layout(row, column + 1, summarize, form, width) for row in rows]

    parts = [*inner(a[:edge]), "...", *inner(a[len(a) - edge :])] if cut else inner(a)
    separator = "," + "\n" * (a.ndim - 1) + " " * (column + 1)
    return "[" + separator.join(parts) + "]"


def _vector(a: np.ndarray, column: int, cut: bool, form: _Form, width: int) -> str:
    edge = _options.edgeitems

    def inner(values: np.ndarray) -> list[str]:
        return [form(v) for v in _items(values)]

    if cut:
        words = [*inner(a[:edge]), " ...", *inner(a[len(a) - edge :])] if edge else ["..."]
    else:
        words = inner(a)
    per_line = max(1, (_options.linewidth - column) // (width + 2))
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (column + 1)).join(lines) + "]"


def _item(a: np.ndarray) -> Any:
    return _items(a.reshape(1))[0]


def _items(a: np.ndarray) -> list[Any]:
    """Return Python numbers; the types that NumPy does not know go through float64."""
    return (a if a.dtype.isbuiltin == 1 else a.astype(np.float64)).tolist()
