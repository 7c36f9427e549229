"""Complex numbers: parts, conjugates, arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops.common import methodcaller_of, zeros_like
from multitorch.ops.op import op
from multitorch.ops.pointwise import real_shape
from multitorch.ops.promote import Promotion, numeric, real_to_real
from multitorch.ops.view import apply_view, view_op

# --- parts ---------------------------------------------------------------------------------------


def _complex_shape(re: Any, im: Any) -> tuple[Any, Any]:
    shape = dispatch.broadcast_shape(tuple(re.shape), tuple(im.shape))
    return shape, dtypes.from_numpy_dtype[re.dtype].to_complex().numpy()


_parts = Promotion("parts", lambda op, d: d, fast=frozenset())
"""For ops on two real tensors whose result is complex: never on the path of equal dtypes."""
_conj = op("conj", "x", promote=numeric).vjp(x=lambda F, g: F.conj(g))
_complex = op("complex_", "re im", promote=_parts, node="Complex", shape=_complex_shape).vjp(
    re=lambda F, g: F.real(g), im=lambda F, g: F.imag(g)
)
_real_view = view_op(
    "real", "x", undo=lambda F, base, new: F.complex_(new, F.imag(base)), shape=real_shape
)
_real_view.vjp(x=lambda F, g, x_dtype: F.cast(g, dtype=x_dtype))
_imag_view = view_op(
    "imag", "x", undo=lambda F, base, new: F.complex_(F.real(base), new), shape=real_shape
)
_imag_view.vjp(x=lambda F, g: F.complex_(zeros_like(F, g), g))


def conj(input: Any) -> Any:
    """Return the complex conjugate; a real tensor is its own."""
    return _conj(input) if input._dtype.is_complex else input


def conj_physical(input: Any, *, out: Any = None) -> Any:
    """Return the complex conjugate."""
    return _conj(input, out=out) if out is not None else conj(input)


def resolve_conj(input: Any) -> Any:
    """Return the tensor: conjugation is never lazy here."""
    return input


def real(input: Any) -> Any:
    """Return a view of the real parts; a real tensor is its own."""
    return apply_view(_real_view, input) if input._dtype.is_complex else input


def imag(input: Any) -> Any:
    """Return a view of the imaginary parts."""
    if not input._dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return apply_view(_imag_view, input)


def complex(real: Any, imag: Any, *, out: Any = None) -> Any:
    """Return `real + 1j * imag`.

    >>> multitorch.complex(multitorch.tensor([1.0]), multitorch.tensor([2.0]))
    tensor([1.+2.j])
    """
    if not real._dtype.is_floating_point or not imag._dtype.is_floating_point:
        raise RuntimeError(
            "Expected both inputs to be Half, Float or Double tensors but got "
            f"{real._dtype.scalar_name} and {imag._dtype.scalar_name}"
        )
    if real._dtype is not imag._dtype:
        raise RuntimeError(
            f"Expected object of scalar type {real._dtype.scalar_name} but got scalar type "
            f"{imag._dtype.scalar_name} for second argument"
        )
    result = _complex(real, imag)
    if out is not None and out._dtype is not result._dtype:
        raise RuntimeError(
            f"Expected object of scalar type {result._dtype.scalar_name} but got scalar type "
            f"{out._dtype.scalar_name} for argument 'out'"
        )
    return result if out is None else out._store(result)


# --- arguments -----------------------------------------------------------------------------------


def norm2(F: Any, x: Any, y: Any) -> Any:
    """Return `x² + y²`, 1 where that is 0."""
    r = x * x + y * y
    return F.where(r == 0, 1, r)


_angle = op("angle", "x", promote=real_to_real, shape=real_shape).vjp(
    x=lambda F, g, x, x_dtype: _angle_rule(F, g, x, x_dtype)
)
_polar = op("polar", "mag phase", promote=_parts, shape=lambda mag, phase: (
    dispatch.broadcast_shape(tuple(mag.shape), tuple(phase.shape)),
    dtypes.from_numpy_dtype[mag.dtype].to_complex().numpy(),
)).vjp(
    mag=lambda F, g, out: F.real(F.conj(g) * F.sgn(out)),
    phase=lambda F, g, out: -F.imag(F.conj(g) * out),
)  # fmt: skip


def _angle_rule(F: Any, g: Any, x: Any, x_dtype: np.dtype) -> Any:
    if x_dtype.kind != "c":
        return zeros_like(F, g)
    re, im = F.real(x), F.imag(x)
    r = norm2(F, re, im)
    return F.complex_(-g * im / r, g * re / r)


def angle(input: Any, *, out: Any = None) -> Any:
    """Return the argument of each complex number; 0 or π for real ones."""
    if not input._dtype.inexact:
        input = input.to(dtypes.get_default_dtype())
    return _angle(input, out=out)


def polar(abs: Any, angle: Any, *, out: Any = None) -> Any:
    """Return the complex numbers with the given absolute values and arguments."""
    if not abs._dtype.is_floating_point or not angle._dtype.is_floating_point:
        raise RuntimeError(
            "Expected both inputs to be Half, Float or Double tensors but got "
            f"{abs._dtype.scalar_name} and {angle._dtype.scalar_name}"
        )
    if abs._dtype is not angle._dtype:
        raise RuntimeError(
            f"Expected object of scalar type {abs._dtype.scalar_name} but got scalar type "
            f"{angle._dtype.scalar_name} for second argument"
        )
    return _polar(abs, angle, out=out)


FUNCTIONS: dict[str, Callable] = {
    f.__name__: f for f in (conj, conj_physical, resolve_conj, real, imag, complex, angle, polar)
} | {"resolve_neg": resolve_conj, "conj_physical_": methodcaller_of("conj_physical_")}
METHODS: dict[str, Any] = {
    "conj": conj, "conj_physical": conj_physical, "resolve_conj": resolve_conj,
    "resolve_neg": resolve_conj, "angle": angle, "real": property(real), "imag": property(imag),
}  # fmt: skip
INPLACE: dict[str, Callable] = {"conj_physical_": conj_physical}
