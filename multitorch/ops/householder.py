"""Products of Householder reflections, as QR factorizations store them.

Reflection i is I - tau[i] v vᴴ, where v is column i below the diagonal, with 1 on it. All of them
together are I - V T Vᴴ with a small triangular T: a few products in place of one step for each.
"""

from __future__ import annotations

from typing import Any

from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.decompose import MATRIX
from multitorch.ops.op import op
from multitorch.ops.ranges import eye
from multitorch.ops.triangular import identity_like, solve_part

Tensor = Any

_geqrf = op(
    "geqrf", "x", outs="a tau", promote=MATRIX, broadcasts=False,
    shape=lambda x: ((x.shape, x.dtype), ((*x.shape[:-2], min(x.shape[-2:])), x.dtype)),
).nondiff()  # fmt: skip


def geqrf(input: Tensor, *, out: Any = None) -> Any:
    """Return (R above the reflections' vectors, tau) of a QR factorization; no derivative."""
    if input.ndim < 2:
        raise RuntimeError("torch.geqrf: input must have at least 2 dimensions.")
    result = return_types.geqrf(*_geqrf(input))
    return result if out is None else write_out(out, result)


def _check(name: str, input: Tensor, tau: Tensor) -> None:
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if tau.ndim != input.ndim - 1:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal "
            f"to {tau.ndim} and input.ndim is equal to {input.ndim}"
        )
    if tau.shape[:-1] != input.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau.shape[:-1])}"
        )
    if tau._dtype is not input._dtype:
        raise RuntimeError(
            f"{name}: tau dtype {tau._dtype.scalar_name} does not match input dtype "
            f"{input._dtype.scalar_name}"
        )


def _vectors(input: Tensor, count: int) -> Tensor:
    """Return V: the reflections' vectors."""
    packed = input.narrow(-1, 0, count)
    ones = eye(packed.shape[-2], count, dtype=packed._dtype, device=packed._dev)
    return packed.tril(-1) + ones


def _weighted(V: Tensor, tau: Tensor, B: Tensor) -> Tensor:
    """Return T B: T is the inverse of 1 / tau on the diagonal and VᴴV above it."""
    scale = tau.unsqueeze(-1)
    return solve_part(identity_like(scale * tau.unsqueeze(-2)) + scale * (V.mH @ V).triu(1),
                      scale * B, upper=True, unitriangular=True)  # fmt: skip


def householder_product(input: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the first columns of the product of reflections: Q of a QR factorization.

    >>> import multitorch as torch
    >>> A = torch.tensor([[3.0, 1.0], [4.0, 2.0]])
    >>> packed, tau = torch.geqrf(A)
    >>> (torch.linalg.householder_product(packed, tau) @ packed.triu() - A).abs().max() < 1e-5
    tensor(True)
    """
    name = "torch.linalg.householder_product"
    _check(name, input, tau)
    if input.shape[-2] < input.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    if input.shape[-1] < tau.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    V = _vectors(input, tau.shape[-1])
    n = input.shape[-1]
    top = V.narrow(-2, 0, n)
    ones = eye(input.shape[-2], n, dtype=input._dtype, device=input._dev)
    result = ones - V @ _weighted(V, tau, top.mH)
    return result if out is None else write_out(out, result)


def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return Q other, or other Q with left=False, for the full product Q of reflections.

    With `transpose`, Qᴴ stands for Q.
    """
    _check_ormqr(input, tau, other, left)
    V = _vectors(input, tau.shape[-1])
    if left != transpose:  # Q other, or the adjoint of it
        side = other if left else other.mH
        result = side - V @ _weighted(V, tau, V.mH @ side)
        result = result if left else result.mH
    else:  # other Q, or the adjoint of it
        side = other.mH if left else other
        result = side - (side @ V) @ _weighted(V, tau, V.mH)
        result = result.mH if left else result
    return result if out is None else write_out(out, result)


def _check_ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool) -> None:
    for name, t in (("input", input), ("other", other)):
        if t.ndim < 2:
            raise RuntimeError(f"torch.ormqr: {name} must have at least 2 dimensions.")
    side = -2 if left else -1
    if other.shape[side] < tau.shape[-1]:
        raise RuntimeError(
            f"torch.ormqr: other.shape[{side}] must be greater than or equal to tau.shape[-1]"
        )
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(f"torch.ormqr: other.shape[{side}] must be equal to input.shape[-2]")
    if tau.shape[-1:] != (min(other.shape[side], input.shape[-1]),):
        raise RuntimeError(
            f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1])"
        )
    _check("torch.ormqr", input, tau)
    if other._dtype is not input._dtype:
        raise RuntimeError("torch.ormqr: Expected input and other to have the same dtype")


FUNCTIONS = {"geqrf": geqrf, "ormqr": ormqr, "orgqr": householder_product}
METHODS = dict(FUNCTIONS)
