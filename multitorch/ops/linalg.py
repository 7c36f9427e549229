"""What is built from products of matrices: linear maps, sums with products, chains, and more."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.decompose import (
    cholesky,
    det,
    inv,
    logdet,
    matrix_power,
    pinv,
    qr,
    slogdet,
    svd,
)
from multitorch.ops.einsum import einsum, tensordot
from multitorch.ops.op import op
from multitorch.ops.products import (
    SAME,
    bmm,
    dot,
    matmul,
    matrix_shape,
    mm,
    mm_nt,
    mv,
    outer,
    vdot,
)

Tensor = Any

# --- linear maps ---------------------------------------------------------------------------------


def _linear_weight(F: Any, g: Any, x: Any, w_shape: tuple[int, ...]) -> Any:
    n, k = w_shape
    rows = prod(x.shape[:-1])
    return F.mm_tn(F.conj(F.reshape(g, shape=(rows, n))), F.conj(F.reshape(x, shape=(rows, k))))


def _linear_shape(x: Any, w: Any, b: Any = None) -> tuple:
    return (*x.shape[:-1], w.shape[0]), x.dtype


_linear = op(
    "linear", "x w b", promote=SAME, broadcasts=False, node="AddmmBackward0", shape=_linear_shape
).vjp(
    x=lambda F, g, w: F.matmul(g, F.conj(w)),
    w=_linear_weight,
    b=lambda F, g, b_shape: F.sum_to(g, shape=b_shape),
)


def linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return x Wᵀ + b for x of shape (…, in), W of shape (out, in) and b of shape (out,)."""
    if out is not None:
        return write_out(out, linear(input, weight, bias))
    sizes, out_in = input._a.shape, weight._a.shape
    if len(out_in) == 2 and sizes:
        if sizes[-1] != out_in[1]:
            rows = prod(input.shape[:-1])
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1]} and "
                f"{weight.shape[1]}x{weight.shape[0]})"
            )
        if len(sizes) == 1:
            return linear(input.unsqueeze(0), weight, bias).squeeze(0)
        if bias is None:
            if len(sizes) == 2 and not input._dtype.is_complex:
                return mm_nt(input, weight)
            return matmul(input, weight.t())
        if bias._a.shape == out_in[:1]:
            return _linear(input, weight, bias)
        if bias.ndim <= 1 and bias.numel() != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({weight.shape[0]}) must match the existing size "
                f"({bias.shape[0]}) at non-singleton dimension 1."
            )
    product = matmul(input, weight if weight.ndim < 2 else weight.t())
    return product if bias is None else product + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x1ᵀ W[k] x2 + b[k] for each k; W is (out, in1, in2)."""
    product = einsum("...i,kij,...j->...k", input1, weight, input2)
    return product if bias is None else product + bias


# --- a product added to something ----------------------------------------------------------------


def _plus_shape(input: Any, x: Any, y: Any, beta: Any, alpha: Any) -> tuple:
    return matrix_shape(x, y) if y.ndim > 1 else (x.shape[:1], x.dtype)


_addmm = op(
    "addmm", "input x y beta alpha", promote=SAME, keep="beta alpha", shape=_plus_shape
).vjp(
    input=lambda F, g, beta: g * beta.conjugate(),
    x=lambda F, g, y, alpha: F.mm_nt(g, y) * alpha.conjugate(),
    y=lambda F, g, x, alpha: F.mm_tn(x, g) * alpha.conjugate(),
)
_baddbmm = op(
    "baddbmm", "input x y beta alpha", promote=SAME, keep="beta alpha", shape=_plus_shape
).vjp(
    input=lambda F, g, beta: g * beta.conjugate(),
    x=lambda F, g, y, alpha: F.matmul_nt(g, y) * alpha.conjugate(),
    y=lambda F, g, x, alpha: F.matmul_tn(x, g) * alpha.conjugate(),
)
_addmv = op(
    "addmv", "input x y beta alpha", promote=SAME, keep="beta alpha", shape=_plus_shape
).vjp(
    input=lambda F, g, beta: g * beta.conjugate(),
    x=lambda F, g, y, alpha: F.outer(g, F.conj(y)) * alpha.conjugate(),
    y=lambda F, g, x, alpha: F.mv_t(x, g) * alpha.conjugate(),
)


def _plus(function: Any, product: Any) -> Any:
    """Return `beta · input + alpha · (x y)`; with beta = 0 the input is not read."""

    def plus(
        input: Tensor, x: Tensor, y: Tensor, beta: Any = 1, alpha: Any = 1, out: Any = None
    ) -> Tensor:
        if not input._dtype.inexact:
            kind = bool if input._dtype is dtypes.bool_ else int
            beta, alpha = kind(beta), kind(alpha)
        if beta == 0 or function is None:
            result = product(x, y)
            result = result if alpha == 1 else result * alpha
            result = result if beta == 0 else input * beta + result
        else:
            _check_expands(input.shape, _product_shape(product, x, y))
            result = function(input, x, y, beta, alpha)
        return result if out is None else write_out(out, result)

    return plus


def _product_shape(product: Any, x: Tensor, y: Tensor) -> tuple[int, ...]:
    if product is mv:
        fits, shape = x.ndim == 2 and y.ndim == 1 and x.shape[1] == y.shape[0], x.shape[:1]
    else:
        dims = 3 if product is bmm else 2
        fits = x.ndim == y.ndim == dims and x.shape[:-2] == y.shape[:-2]
        fits = fits and x.shape[-1] == y.shape[-2]
        shape = (*x.shape[:-1], y.shape[-1])
    if not fits:
        product(x, y)  # raises the error that says how
    return tuple(shape)


def _check_expands(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    for i, (n, wanted) in enumerate(zip(reversed(shape), reversed(target))):
        if n not in (1, wanted):
            raise RuntimeError(
                f"The expanded size of the tensor ({wanted}) must match the existing size ({n}) at "
                f"non-singleton dimension {len(target) - 1 - i}.  Target sizes: {list(target)}.  "
                f"Tensor sizes: {list(shape)}"
            )


_plus_mm, _plus_bmm, _plus_mv = _plus(_addmm, mm), _plus(_baddbmm, bmm), _plus(_addmv, mv)


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """Return beta · input + alpha · (mat1 mat2)."""
    return _plus_mm(input, mat1, mat2, beta, alpha, out)


def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """Return beta · input + alpha · (mat vec)."""
    return _plus_mv(input, mat, vec, beta, alpha, out)


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1,
    out: Any = None,
) -> Tensor:  # fmt: skip
    """Return beta · input + alpha · (batch1 batch2) for batches of matrices."""
    return _plus_bmm(input, batch1, batch2, beta, alpha, out)


def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1,
    out: Any = None,
) -> Tensor:  # fmt: skip
    """Return beta · input + alpha · the sum over the batch of (batch1 batch2)."""
    return _plus(None, lambda x, y: bmm(x, y).sum(0, dtype=x._dtype))(
        input, batch1, batch2, beta, alpha, out
    )


def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Any = None
) -> Tensor:
    """Return beta · input + alpha · the outer product of vec1 and vec2."""
    return _plus(None, outer)(input, vec1, vec2, beta, alpha, out)


# --- others --------------------------------------------------------------------------------------


def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the sums of products over the last dimensions of both."""
    if not input.ndim or not other.ndim:
        result = input * other
    elif input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    else:
        result = tensordot(input, other, ([-1], [-1]))
    return result if out is None else write_out(out, result)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Return the sums of products along `dim`, the first operand conjugated."""
    result = ((x.conj() if x.is_complex() else x) * y).sum(dim)
    return result if out is None else write_out(out, result)


def trace(input: Tensor) -> Tensor:
    """Return the sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return input.diagonal().sum()


def linalg_cross(
    input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None
) -> Tensor:
    """Return the cross product of vectors of three elements along `dim`."""
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    dim = wrap_dim(dim, input.ndim)
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and "
            f"{other.shape[dim]}"
        )
    ahead, behind = ([t.roll(-s, dim) for t in (input, other)] for s in (1, 2))
    result = ahead[0] * behind[1] - behind[0] * ahead[1]
    return result if out is None else write_out(out, result)


def cross(
    input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the cross product along `dim`, or along the first dimension of size 3."""
    if dim is None:
        dim = next((i for i, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return linalg_cross(input, other, dim=dim, out=out)


def multi_dot(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Return the product of several matrices, multiplied in the cheapest order.

    The first and the last may be vectors.
    """
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    items = list(tensors)
    first, last = items[0].ndim == 1, items[-1].ndim == 1
    if first:
        items[0] = items[0].unsqueeze(0)
    if last:
        items[-1] = items[-1].unsqueeze(1)
    split = _best_order([t.shape[0] for t in items] + [items[-1].shape[1]])
    result = _multiply_range(items, split, 0, len(items) - 1)
    if first:
        result = result.squeeze(0)
    if last:
        result = result.squeeze(-1)
    return result if out is None else write_out(out, result)


def _best_order(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Return where to split each range of a chain of matrices, for the fewest multiplications."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], split[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return split


def _multiply_range(items: list, split: dict, i: int, j: int) -> Tensor:
    if i == j:
        return items[i]
    k = split[i, j]
    return mm(_multiply_range(items, split, i, k), _multiply_range(items, split, k + 1, j))


def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the product of several matrices."""
    if len(matrices) == 1:
        return matrices[0] if isinstance(matrices[0], dispatch.Tensor) else multi_dot(matrices[0])
    return multi_dot(matrices, out=out)


_BOTH = {
    "matmul": matmul, "mm": mm, "bmm": bmm, "mv": mv, "dot": dot, "vdot": vdot, "inner": inner,
    "outer": outer, "ger": outer, "addmm": addmm, "addmv": addmv, "addbmm": addbmm,
    "baddbmm": baddbmm, "addr": addr, "trace": trace, "cross": cross,
    "inverse": inv, "det": det, "slogdet": slogdet, "logdet": logdet, "cholesky": cholesky,
    "qr": qr, "svd": svd, "pinverse": pinv, "matrix_power": matrix_power,
}  # fmt: skip
METHODS = {"__matmul__": matmul, "__rmatmul__": lambda self, other: matmul(other, self), **_BOTH}
INPLACE = {
    "addmm_": addmm, "addmv_": addmv, "addbmm_": addbmm, "baddbmm_": baddbmm, "addr_": addr,
}  # fmt: skip
FUNCTIONS = {
    **_BOTH, "einsum": einsum, "tensordot": tensordot, "bilinear": bilinear,
    "chain_matmul": chain_matmul,
}  # fmt: skip
