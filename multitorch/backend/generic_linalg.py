"""Generic bodies of products: all of them are `matmul` of suitably shaped operands."""

from __future__ import annotations

from typing import Any

Array = Any


def _adjoint(F: Any, x: Array) -> Array:
    n = x.ndim
    return F.conj(F.permute(x, dims=(*range(n - 2), n - 1, n - 2)))


def matmul_nt(F: Any, x: Array, y: Array) -> Array:
    """`x yᴴ`."""
    return F.matmul(x, _adjoint(F, y))


def matmul_tn(F: Any, x: Array, y: Array) -> Array:
    """`xᴴ y`."""
    return F.matmul(_adjoint(F, x), y)


def mm(F: Any, x: Array, y: Array) -> Array:
    """The product of two matrices."""
    return F.matmul(x, y)


def mm_nt(F: Any, x: Array, y: Array) -> Array:
    """`x yᴴ` of two matrices."""
    return F.matmul(x, _adjoint(F, y))


def mm_tn(F: Any, x: Array, y: Array) -> Array:
    """`xᴴ y` of two matrices."""
    return F.matmul(_adjoint(F, x), y)


def mv(F: Any, x: Array, y: Array) -> Array:
    """The product of a matrix and a vector."""
    column = F.matmul(x, F.reshape(y, shape=(*y.shape, 1)))
    return F.reshape(column, shape=x.shape[:1])


def mv_t(F: Any, x: Array, y: Array) -> Array:
    """`xᴴ y` of a matrix and a vector."""
    return F.mv(_adjoint(F, x), y)


def dot(F: Any, x: Array, y: Array) -> Array:
    """The sum of products."""
    row, column = F.reshape(x, shape=(1, *x.shape)), F.reshape(y, shape=(*y.shape, 1))
    return F.reshape(F.matmul(row, column), shape=())


def outer(F: Any, x: Array, y: Array) -> Array:
    """All products of two vectors' elements."""
    return F.reshape(x, shape=(*x.shape, 1)) * y


def linear(F: Any, x: Array, w: Array, b: Array = None) -> Array:
    """`x wᵀ + b`."""
    y = F.matmul(x, F.permute(w, dims=(1, 0)))
    return y if b is None else y + b
