"""Products of matrices and vectors.

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


SAME = SameDtype("same", _no_bool, fast=frozenset(_C_NAMES) - {dtypes.bool_})


def _check_inner(n: int, m: int) -> None:
    if n != m:
        raise RuntimeError(f"inner sizes of a matrix product differ: {n} and {m}")


def matrix_shape(x: Any, y: Any) -> tuple:
    _check_inner(x.shape[-1], y.shape[-2])
    batch = broadcast_shape(x.shape[:-2], y.shape[:-2])
    return (*batch, x.shape[-2], y.shape[-1]), x.dtype


def _nt_shape(x: Any, y: Any) -> tuple:
    _check_inner(x.shape[-1], y.shape[-1])
    batch = broadcast_shape(x.shape[:-2], y.shape[:-2])
    return (*batch, x.shape[-2], y.shape[-2]), x.dtype


def _tn_shape(x: Any, y: Any) -> tuple:
    _check_inner(x.shape[-2], y.shape[-2])
    batch = broadcast_shape(x.shape[:-2], y.shape[:-2])
    return (*batch, x.shape[-1], y.shape[-1]), x.dtype


# --- the three products, of two matrices and of batches ------------------------------------------

_mm = op("mm", "x y", promote=SAME, broadcasts=False, shape=matrix_shape).vjp(
    x=lambda F, g, y: F.mm_nt(g, y), y=lambda F, g, x: F.mm_tn(x, g)
)
mm_nt = op("mm_nt", "x y", promote=SAME, broadcasts=False, shape=_nt_shape, node="MmBackward0").vjp(
    x=lambda F, g, y: F.mm(g, y), y=lambda F, g, x: F.mm_tn(g, x)
)
_mm_tn = op(
    "mm_tn", "x y", promote=SAME, broadcasts=False, shape=_tn_shape, node="MmBackward0"
).vjp(x=lambda F, g, y: F.mm_nt(y, g), y=lambda F, g, x: F.mm(x, g))
_matmul = op("matmul", "x y", promote=SAME, shape=matrix_shape, node="UnsafeView").vjp(
    x=lambda F, g, y: F.matmul_nt(g, y), y=lambda F, g, x: F.matmul_tn(x, g)
)
_matmul_nt = op("matmul_nt", "x y", promote=SAME, shape=_nt_shape, node="BmmBackward0").vjp(
    x=lambda F, g, y: F.matmul(g, y), y=lambda F, g, x: F.matmul_tn(g, x)
)
_matmul_tn = op("matmul_tn", "x y", promote=SAME, shape=_tn_shape, node="BmmBackward0").vjp(
    x=lambda F, g, y: F.matmul_nt(y, g), y=lambda F, g, x: F.matmul(x, g)
)
_bmm = op("bmm", "x y", promote=SAME, kernel="matmul", shape=matrix_shape).vjp(
    x=lambda F, g, y: F.matmul_nt(g, y), y=lambda F, g, x: F.matmul_tn(x, g)
)
_mv = op("mv", "x y", promote=SAME, shape=lambda x, y: (x.shape[:1], x.dtype)).vjp(
    x=lambda F, g, y: F.outer(g, F.conj(y)), y=lambda F, g, x: F.mv_t(x, g)
)
_mv_t = op(
    "mv_t", "x y", promote=SAME, node="MvBackward0", shape=lambda x, y: (x.shape[1:], x.dtype)
).vjp(x=lambda F, g, y: F.outer(y, F.conj(g)), y=lambda F, g, x: F.mv(x, g))
_dot = op("dot", "x y", promote=SAME, shape=lambda x, y: ((), x.dtype)).vjp(
    x=lambda F, g, y: g * F.conj(y), y=lambda F, g, x: g * F.conj(x)
)
_outer = op("outer", "x y", promote=SAME, node="MulBackward0",
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
    try:
        a, b = input._a.shape, mat2._a.shape
    except AttributeError:
        _check_tensors("bmm", input=input, mat2=mat2)
        raise
    if len(a) != 3 or len(b) != 3:
        raise RuntimeError(f"batch{1 if len(a) != 3 else 2} must be a 3D tensor")
    if b[:2] != (a[0], a[2]):
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{a[0]}, {a[2]}] but got: {list(b[:2])}."
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
