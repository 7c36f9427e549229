"""Eigenvalues of general matrices; condition numbers and ranks."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.autograd import modes
from multitorch.ops import apply as dispatch
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.decompose import MATRIX, check_square, eigvalsh, svdvals
from multitorch.ops.lu import inv_ex
from multitorch.ops.matrix_norm import matrix_norm
from multitorch.ops.op import op

Tensor = Any


def _complex(d: np.dtype) -> np.dtype:
    return np.result_type(d, np.complex64)


_eig = op(
    "eig", "x", outs="values vectors", promote=MATRIX, broadcasts=False, node="LinalgEig",
    shape=lambda x: ((x.shape[:-1], _complex(x.dtype)), (x.shape, _complex(x.dtype))),
).vjps(
    lambda F, g, values, vectors: (F.eig_backward(g[0], g[1], values, vectors),)
)  # fmt: skip
_eigvals = op(
    "eigvals", "x", promote=MATRIX, broadcasts=False,
    shape=lambda x: (x.shape[:-1], _complex(x.dtype)),
).nondiff()  # fmt: skip


def eig(A: Tensor, *, out: Any = None) -> Any:
    """Return complex eigenvalues and eigenvectors of square matrices.

    The vectors are of length 1, each up to a phase: only what does not depend on the phases has a
    derivative, and only for distinct eigenvalues. XLA has no such algorithm for accelerators: on
    every device it runs on the host.
    """
    check_square("linalg.eig", A)
    result = return_types.linalg_eig(*_eig(A))
    return result if out is None else write_out(out, result)


def eigvals(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the complex eigenvalues of square matrices; see `eig`."""
    check_square("linalg.eigvals", A)
    result = _eig(A)[0] if A.requires_grad and modes.is_grad_enabled() else _eigvals(A)
    return result if out is None else write_out(out, result)


# --- condition numbers and ranks -----------------------------------------------------------------


def cond(A: Tensor, p: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Return the condition number: ‖A‖ ‖A⁻¹‖ in the norm p (None and 2: of singular values)."""
    if A.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if p not in (None, 2, -2, 1, -1, inf, -inf, "fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if p is None or p in (2, -2):
        result = _ratio(A, p)
    else:
        check_square(f"linalg.cond(ord={p})", A)
        result = _product(A, p)
    return result if out is None else write_out(out, result)


def _ratio(A: Tensor, p: Any) -> Tensor:
    s = svdvals(A)
    if not s.shape[-1]:
        return s.sum(-1)
    largest, smallest = s[..., 0], s[..., -1]
    return smallest / largest if p == -2 else largest / smallest


def _product(A: Tensor, p: Any) -> Tensor:
    norm = matrix_norm(A, p) if A.shape[-1] else A.abs().sum((-2, -1))
    if not A.shape[-1]:
        return norm
    inverse, info = inv_ex(A)
    return (norm * matrix_norm(inverse, p)).masked_fill(info != 0, inf)


def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return how many singular values are above max(atol, rtol · the largest).

    Unless a tolerance is given, rtol is the dtype's epsilon times the larger side. With `hermitian`
    the eigenvalues of the lower triangle's matrix stand for the singular values. `tol` is an older
    name of atol.
    """
    if A.ndim < 2:
        raise RuntimeError(
            "torch.linalg.matrix_rank: The input tensor input must have at least 2 dimensions."
        )
    if tol is not None:
        atol, rtol = tol, 0.0
    if hermitian:
        check_square("linalg.eigh", A)
    if 0 in A.shape[-2:]:
        result = A.new_zeros(A.shape[:-2], dtype=dtypes.int64)
    else:
        values = eigvalsh(A).abs() if hermitian else svdvals(A)
        bound = _bound(A, values.amax(-1), atol, rtol)
        result = (values > bound.unsqueeze(-1)).sum(-1)
    return result if out is None else write_out(out, result)


def _bound(A: Tensor, largest: Tensor, atol: Any, rtol: Any) -> Tensor:
    """Return max(atol, rtol · largest); a relative tolerance is only assumed without another."""
    default = max(A.shape[-2:]) * dtypes.finfo(A._dtype).eps
    if rtol is None and isinstance(atol, dispatch.Tensor):
        rtol = (atol > 0).logical_not().to(largest._dtype) * default
    elif rtol is None:
        rtol = 0.0 if atol is not None and atol > 0 else default
    relative = largest * rtol
    if atol is None:
        return relative
    return relative.maximum(atol.to(A._dev) if isinstance(atol, dispatch.Tensor)
                            else relative.new_full((), atol))  # fmt: skip
