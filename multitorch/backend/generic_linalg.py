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


def addmm(F: Any, input: Array, x: Array, y: Array, beta: Array, alpha: Array) -> Array:
    """`beta input + alpha x y`."""
    return input * beta + F.mm(x, y) * alpha


def baddbmm(F: Any, input: Array, x: Array, y: Array, beta: Array, alpha: Array) -> Array:
    """`beta input + alpha x y` of batches."""
    return input * beta + F.matmul(x, y) * alpha


def addmv(F: Any, input: Array, x: Array, y: Array, beta: Array, alpha: Array) -> Array:
    """`beta input + alpha x y` of a matrix and a vector."""
    return input * beta + F.mv(x, y) * alpha


# --- what the rules of decompositions share ------------------------------------------------------


def adjoint(F: Any, x: Array) -> Array:
    """`xᴴ`."""
    return _adjoint(F, x)


def pinv(F: Any, x: Array, atol: Array, rtol: Array) -> Array:
    """`V diag(1/s) Uᴴ`, where what is not above the tolerances counts as 0."""
    u, s, vh = F.svd(x, full=False)
    least = F.maximum(rtol * F.amax(s, dim=(len(s.shape) - 1,), keepdim=True), atol)
    inverse = F.where(F.gt(s, least), 1 / F.where(F.gt(s, least), s, 1), 0)
    row = F.reshape(inverse, shape=(*inverse.shape[:-1], 1, inverse.shape[-1]))
    return F.matmul(_adjoint(F, vh) * row, _adjoint(F, u))


def as_scalars(F: Any, g: Array) -> Array:
    """One number for each matrix, in a shape that broadcasts with the matrices."""
    return F.reshape(g, shape=(*g.shape, 1, 1))


def diagonal_part(F: Any, x: Array) -> Array:
    """`x` with 0 beside the diagonal."""
    return F.tril(x, diagonal=0) - F.tril(x, diagonal=-1)


def diagonal_matrix(F: Any, values: Array) -> Array:
    """Square matrices with these diagonals."""
    n = values.shape[-1]
    column = F.reshape(values, shape=(*values.shape, 1))
    return F.diagonal_part(F.expand(column, shape=(*values.shape, n)))


def inverse_gaps(F: Any, values: Array) -> Array:
    """`1 / (v[j] - v[i])`, 0 where i = j or the values are equal."""
    row = F.reshape(values, shape=(*values.shape[:-1], 1, values.shape[-1]))
    gaps = row - F.reshape(values, shape=(*values.shape, 1))
    # compilers that fuse multiply and add leave a rounding error on the diagonal
    gaps = F.tril(gaps, diagonal=-1) + F.triu(gaps, diagonal=1)
    return F.where(gaps == 0, 0, 1 / F.where(gaps == 0, 1, gaps))


def qr_backward(F: Any, gq: Array, gr: Array, q: Array, r: Array) -> Array:
    """The gradient of the decomposition; None stands for a gradient of 0.

    Of a wide matrix the leading square block determines `q`; the rest of `r` follows from it.
    """
    m, n, last = q.shape[-1], r.shape[-1], len(r.shape) - 1
    rest = None
    if n > m and gr is not None:
        rest = F.slice(gr, m, dim=last, length=n - m, step=1)
        right = F.matmul(q, F.slice(r, m, dim=last, length=n - m, step=1))
        turn = F.matmul_nt(right, rest)
        gq = turn if gq is None else gq + turn
        gr, rest = F.slice(gr, 0, dim=last, length=m, step=1), F.matmul(q, rest)
    elif n > m:
        shape = (*r.shape[:-2], q.shape[-2], n - m)
        rest = F.new_zeros(gq, shape=shape)
    square = F.slice(r, 0, dim=last, length=m, step=1) if n > m else r
    inner = 0 if gr is None else F.matmul_nt(square, gr)
    if gq is not None:
        inner = inner - F.matmul_tn(gq, q)
    # the lower triangle, mirrored; of the diagonal its real part
    lower = F.tril(inner, diagonal=0)
    inner = lower + _adjoint(F, lower)
    total = F.matmul(q, inner - F.diagonal_part(inner) / 2)
    if gq is not None:
        total = total + gq
    total = F.solve_triangular(square, _adjoint(F, total), upper=True, unitriangular=False)
    total = _adjoint(F, total)
    return total if rest is None else F.cat(total, rest, dim=last)


def _leading(F: Any, x: Array, k: int, dim: int) -> Array:
    """The first `k` rows (dim -2) or columns (dim -1); None stays None."""
    if x is None or x.shape[dim] == k:
        return x
    return F.slice(x, 0, dim=len(x.shape) + dim, length=k, step=1)


def svd_backward(F: Any, gu: Array, gs: Array, gvh: Array, u: Array, s: Array, vh: Array) -> Array:
    """The gradient of the decomposition; None stands for a gradient of 0.

    What only the full decomposition has does not count.
    """
    k = s.shape[-1]
    u, gu = _leading(F, u, k, -1), _leading(F, gu, k, -1)
    vh, gvh = _leading(F, vh, k, -2), _leading(F, gvh, k, -2)
    row = F.reshape(s, shape=(*s.shape[:-1], 1, s.shape[-1]))
    column = F.reshape(s, shape=(*s.shape, 1))
    gaps = F.inverse_gaps(s * s)
    inner = None if gs is None else F.diagonal_matrix(gs)
    outer = None
    if gu is not None:
        turn = F.matmul_tn(u, gu)
        skew = turn - F.adjoint(turn)
        part = skew * gaps * row + F.diagonal_part(skew) / (row * 2)
        inner = part if inner is None else inner + part
        outer = F.matmul((gu - F.matmul(u, turn)) / row, vh)
    if gvh is not None:
        turn = F.matmul_nt(vh, gvh)
        part = column * ((turn - F.adjoint(turn)) * gaps)
        inner = part if inner is None else inner + part
        rest = F.matmul(u / row, gvh - F.matmul(F.adjoint(turn), vh))
        outer = rest if outer is None else outer + rest
    total = F.matmul(F.matmul(u, inner), vh)
    return total if outer is None else total + outer
