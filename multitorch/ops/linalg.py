"""Products of matrices and vectors, and what is built from them.

The three products `x y`, `x yᴴ` and `xᴴ y` are each other's derivatives, so that three kernels
carry every order of differentiation without a transposed copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import dtype
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import broadcast_shape, write_out
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
from multitorch.ops.promote import Promotion, not_implemented
from multitorch.promotion import NUMBER, Operand

Tensor = Any

_C_NAMES = {
    dtypes.float32: "float",
    dtypes.float64: "double",
    dtypes.float16: "c10::Half",
    dtypes.bfloat16: "c10::BFloat16",
    dtypes.int64: "long int",
    dtypes.int32: "int",
    dtypes.int16: "short int",
    dtypes.int8: "signed char",
    dtypes.uint8: "unsigned char",
    dtypes.bool_: "bool",
    dtypes.complex64: "c10::complex<float>",
    dtypes.complex128: "c10::complex<double>",
}


def _no_bool(name: str, d: dtype) -> dtype:
    if d is dtypes.bool_:
        raise NotImplementedError("\"addmm_impl_cpu_\" not implemented for 'Bool'")
    if d not in _C_NAMES:
        raise not_implemented(name, d)
    return d


class SameDtype(Promotion):
    """Operands must have one dtype: matrix products do not promote."""

    def compute(self, op: str, operands: Sequence[Operand]) -> dtype:
        """Return the common dtype, or raise PyTorch's error."""
        first = operands[0][0]
        for position, (d, kind) in enumerate(operands):
            if kind == NUMBER:
                raise TypeError(f"{op}(): argument {position + 1} must be Tensor, not a number")
            if d is not first:
                raise RuntimeError(self._mismatch(op, [d for d, _ in operands]))
        return self._adjust(op, first)

    def _mismatch(self, op: str, found: list[dtype]) -> str:
        if op == "dot":
            names = " and ".join(d.scalar_name for d in found)
            return f"dot : expected both vectors to have same dtype, but found {names}"
        if op in ("bmm", "matmul"):
            return f"expected scalar type {found[0].scalar_name} but found {found[1].scalar_name}"
        names = " != ".join(_C_NAMES.get(d, d.name) for d in found[:2])
        if op == "linear" and len(found) > 2:
            first, second = (d.scalar_name for d in (found[0], found[1]))
            return f"mat1 and mat2 must have the same dtype, but got {first} and {second}"
        return f"expected m1 and m2 to have the same dtype, but got: {names}"


_same = SameDtype("same", _no_bool, fast=frozenset(_C_NAMES) - {dtypes.bool_})


def _matrix_shape(x: Any, y: Any) -> tuple:
    batch = broadcast_shape(x.shape[:-2], y.shape[:-2])
    return (*batch, x.shape[-2], y.shape[-1]), x.dtype


def _nt_shape(x: Any, y: Any) -> tuple:
    batch = broadcast_shape(x.shape[:-2], y.shape[:-2])
    return (*batch, x.shape[-2], y.shape[-2]), x.dtype


def _tn_shape(x: Any, y: Any) -> tuple:
    batch = broadcast_shape(x.shape[:-2], y.shape[:-2])
    return (*batch, x.shape[-1], y.shape[-1]), x.dtype


# --- the three products, of two matrices and of batches ------------------------------------------

_mm = op("mm", "x y", promote=_same, broadcasts=False, shape=_matrix_shape).vjp(
    x=lambda F, g, y: F.mm_nt(g, y), y=lambda F, g, x: F.mm_tn(x, g)
)
_mm_nt = op(
    "mm_nt", "x y", promote=_same, broadcasts=False, shape=_nt_shape, node="MmBackward0"
).vjp(
    x=lambda F, g, y: F.mm(g, y), y=lambda F, g, x: F.mm_tn(g, x)
)
_mm_tn = op(
    "mm_tn", "x y", promote=_same, broadcasts=False, shape=_tn_shape, node="MmBackward0"
).vjp(
    x=lambda F, g, y: F.mm_nt(y, g), y=lambda F, g, x: F.mm(x, g)
)
_matmul = op("matmul", "x y", promote=_same, shape=_matrix_shape, node="UnsafeView").vjp(
    x=lambda F, g, y: F.matmul_nt(g, y), y=lambda F, g, x: F.matmul_tn(x, g)
)
_matmul_nt = op("matmul_nt", "x y", promote=_same, shape=_nt_shape, node="BmmBackward0").vjp(
    x=lambda F, g, y: F.matmul(g, y), y=lambda F, g, x: F.matmul_tn(g, x)
)
_matmul_tn = op("matmul_tn", "x y", promote=_same, shape=_tn_shape, node="BmmBackward0").vjp(
    x=lambda F, g, y: F.matmul_nt(y, g), y=lambda F, g, x: F.matmul(x, g)
)
_bmm = op("bmm", "x y", promote=_same, kernel="matmul", shape=_matrix_shape).vjp(
    x=lambda F, g, y: F.matmul_nt(g, y), y=lambda F, g, x: F.matmul_tn(x, g)
)
_mv = op("mv", "x y", promote=_same, shape=lambda x, y: (x.shape[:1], x.dtype)).vjp(
    x=lambda F, g, y: F.outer(g, F.conj(y)), y=lambda F, g, x: F.mv_t(x, g)
)
_mv_t = op(
    "mv_t", "x y", promote=_same, node="MvBackward0", shape=lambda x, y: (x.shape[1:], x.dtype)
).vjp(x=lambda F, g, y: F.outer(y, F.conj(g)), y=lambda F, g, x: F.mv(x, g))
_dot = op("dot", "x y", promote=_same, shape=lambda x, y: ((), x.dtype)).vjp(
    x=lambda F, g, y: g * F.conj(y), y=lambda F, g, x: g * F.conj(x)
)
_outer = op("outer", "x y", promote=_same, node="MulBackward0",
            shape=lambda x, y: ((*x.shape, *y.shape), x.dtype)).vjp(
    x=lambda F, g, y: F.mv(g, F.conj(y)), y=lambda F, g, x: F.conj(F.mv_t(g, x))
)  # fmt: skip


def _check_tensors(name: str, **args: Any) -> None:
    for position, (key, t) in enumerate(args.items(), 1):
        if not isinstance(t, dispatch.Tensor):
            raise TypeError(
                f"{name}(): argument '{key}' (position {position}) must be Tensor, "
                f"not {type(t).__name__}"
            )


def _sizes(x: Any) -> str:
    return "x".join(str(n) for n in x.shape)


def _multiply(x: Tensor, y: Tensor) -> Tensor:
    """Multiply two matrices, or raise PyTorch's error for shapes that do not fit."""
    try:
        return _mm(x, y)
    except Exception:
        if x.shape[1] != y.shape[0]:
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({_sizes(x)} and {_sizes(y)})"
            ) from None
        raise


def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the matrix product; leading dimensions are a batch and broadcast.

    >>> import multitorch as torch
    >>> torch.ones(2, 3).matmul(torch.ones(3))
    tensor([3., 3.])
    """
    try:
        n = input._a.ndim
        m = other._a.ndim
    except AttributeError:
        _check_tensors("matmul", input=input, other=other)
        raise
    if out is not None:
        return write_out(out, matmul(input, other))
    return _multiply(input, other) if n == m == 2 else _matmul_any(input, other, n, m)


def _matmul_any(x: Tensor, y: Tensor, n: int, m: int) -> Tensor:
    if not n or not m:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {n}D and {m}D"
        )
    if m == 1:
        if n == 1:
            return dot(x, y)
        return mv(x, y) if n == 2 else mv(x.flatten(0, -2), y).view(x.shape[:-1])
    if n == 1:
        return _matmul_any(x.unsqueeze(0), y, 2, m).squeeze(-2)
    if m == 2:
        folded = _multiply(x.reshape(prod(x.shape[:-1]), x.shape[-1]), y) if n > 2 else None
        return _multiply(x, y) if folded is None else folded.view(*x.shape[:-1], y.shape[-1])
    if x.shape[-1] != y.shape[-2]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{y.shape[0]}, {x.shape[-1]}] but got: [{y.shape[0]}, {y.shape[-2]}]."
        )
    broadcast_shape(x.shape[:-2], y.shape[:-2])
    return _matmul(x, y)


def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the product of two matrices."""
    _check_tensors("mm", input=input, mat2=mat2)
    for name, t in (("self", input), ("mat2", mat2)):
        if t.ndim != 2:
            raise RuntimeError(f"{name} must be a matrix")
    result = _multiply(input, mat2)
    return result if out is None else write_out(out, result)


def bmm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the products of a batch of matrices: (b, n, k), (b, k, m) → (b, n, m)."""
    _check_tensors("bmm", input=input, mat2=mat2)
    for name, t in (("batch1", input), ("batch2", mat2)):
        if t.ndim != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    expected = [input.shape[0], input.shape[2]]
    if list(mat2.shape[:2]) != expected:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"{expected} but got: {list(mat2.shape[:2])}."
        )
    result = _bmm(input, mat2)
    return result if out is None else write_out(out, result)


def mv(input: Tensor, vec: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the product of a matrix and a vector."""
    _check_tensors("mv", input=input, vec=vec)
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {vec.ndim}, {input.ndim}, {vec.ndim}"
        )
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({input.shape[0]}), mat ({_sizes(input)}), "
            f"vec ({vec.shape[0]})"
        )
    result = _mv(input, vec)
    return result if out is None else write_out(out, result)


def dot(input: Tensor, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the sum of products of two vectors (no conjugate).

    >>> import multitorch as torch
    >>> torch.dot(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor(11)
    """
    _check_tensors("dot", input=input, tensor=tensor)
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    n, m = input.shape[0], tensor.shape[0]
    if n != m:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same "
            f"number of elements, but got {n} and {m} elements respectively"
        )
    result = _dot(input, tensor)
    return result if out is None else write_out(out, result)


def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the sum of products of two vectors, the first conjugated."""
    result = dot(input.conj() if input.is_complex() else input, other)
    return result if out is None else write_out(out, result)


def outer(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the matrix of products of the elements of two vectors."""
    _check_tensors("outer", input=input, vec2=vec2)
    for name, t in (("self", input), ("vec2", vec2)):
        if t.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {t.ndim}-D")
    same = input.dtype is vec2.dtype and input.dtype is not dtypes.bool_
    result = _outer(input, vec2) if same else input.unsqueeze(1) * vec2
    return result if out is None else write_out(out, result)


# --- linear maps ---------------------------------------------------------------------------------


def _linear_weight(F: Any, g: Any, x: Any, w_shape: tuple[int, ...]) -> Any:
    n, k = w_shape
    rows = prod(x.shape[:-1])
    return F.mm_tn(F.conj(F.reshape(g, shape=(rows, n))), F.conj(F.reshape(x, shape=(rows, k))))


def _linear_shape(x: Any, w: Any, b: Any = None) -> tuple:
    return (*x.shape[:-1], w.shape[0]), x.dtype


_linear = op("linear", "x w b", promote=_same, node="AddmmBackward0", shape=_linear_shape).vjp(
    x=lambda F, g, w: F.matmul(g, F.conj(w)), w=_linear_weight, b=lambda F, g: g
)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b for x of shape (…, in), W of shape (out, in) and b of shape (out,)."""
    if weight.ndim == 2 and input.ndim:
        if input.shape[-1] != weight.shape[1]:
            rows = prod(input.shape[:-1])
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1]} and "
                f"{weight.shape[1]}x{weight.shape[0]})"
            )
        if input.ndim == 1:
            return linear(input.unsqueeze(0), weight, bias).squeeze(0)
        if bias is None:
            if input.ndim == 2 and not input._dtype.is_complex:
                return _mm_nt(input, weight)
            return matmul(input, weight.t())
        if bias.shape == weight.shape[:1]:
            return _linear(input, weight, bias)
        if bias.ndim <= 1 and bias.numel() != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({weight.shape[0]}) must match the existing size "
                f"({bias.shape[0]}) at non-singleton dimension 1."
            )
    product = matmul(input, weight if weight.ndim < 2 else weight.t())
    return product if bias is None else product + bias


def bilinear(
    input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Return x1ᵀ W[k] x2 + b[k] for each k; W is (out, in1, in2)."""
    product = einsum("...i,kij,...j->...k", input1, weight, input2)
    return product if bias is None else product + bias


# --- a product added to something ----------------------------------------------------------------


def _plus_shape(input: Any, x: Any, y: Any, beta: Any, alpha: Any) -> tuple:
    return _matrix_shape(x, y) if y.ndim > 1 else (x.shape[:1], x.dtype)


_addmm = op(
    "addmm", "input x y beta alpha", promote=_same, keep="beta alpha", shape=_plus_shape
).vjp(
    input=lambda F, g, beta: g * beta.conjugate(),
    x=lambda F, g, y, alpha: F.mm_nt(g, y) * alpha.conjugate(),
    y=lambda F, g, x, alpha: F.mm_tn(x, g) * alpha.conjugate(),
)
_baddbmm = op(
    "baddbmm", "input x y beta alpha", promote=_same, keep="beta alpha", shape=_plus_shape
).vjp(
    input=lambda F, g, beta: g * beta.conjugate(),
    x=lambda F, g, y, alpha: F.matmul_nt(g, y) * alpha.conjugate(),
    y=lambda F, g, x, alpha: F.matmul_tn(x, g) * alpha.conjugate(),
)
_addmv = op(
    "addmv", "input x y beta alpha", promote=_same, keep="beta alpha", shape=_plus_shape
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
            beta, alpha = int(beta), int(alpha)
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
    return _plus(None, lambda x, y: bmm(x, y).sum(0))(input, batch1, batch2, beta, alpha, out)


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
