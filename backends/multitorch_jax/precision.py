"""The precision of float32 products, which every kernel that multiplies matrices reads."""

from __future__ import annotations

from jax import lax

_PRECISIONS = {
    "highest": lax.Precision.HIGHEST,
    "high": lax.Precision.HIGH,
    "medium": lax.Precision.DEFAULT,
}
of_products = lax.Precision.HIGHEST
"""PyTorch's default: no shorter formats on tensor cores."""


def set_precision(precision: str) -> bool:
    """Set the precision of products that are traced from now on; return whether it is another."""
    global of_products
    before, of_products = of_products, _PRECISIONS[precision]
    return of_products is not before
