"""A few eigenvalues of large symmetric matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.autograd.modes import no_grad
from multitorch.ops.decompose import eigh
from multitorch.ops.join import cat, stack
from multitorch.ops.random import randn

Tensor = Any
_ENOUGH = 1000
"""How many steps are made at most where the caller sets no limit."""
_PATIENCE = 100
"""After how many steps without progress rounding is what is left."""


def lobpcg(
    A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None,
    n: int | None = None, iK: Tensor | None = None, niter: int | None = None,
    tol: float | None = None, largest: bool | None = None, method: str | None = None,
    tracker: Callable | None = None, ortho_iparams: Any = None, ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return (k eigenvalues, eigenvectors) of symmetric A x = λ B x, the largest or the smallest.

    By the locally optimal block preconditioned conjugate gradient method (Knyazev, 2001): in each
    step the best n vectors in the span of the present ones, their residuals multiplied by the
    preconditioner iK, and the last directions. X is where it starts. There is no derivative yet.

    >>> import multitorch as torch
    >>> A = torch.arange(1.0, 10.0).diag()
    >>> torch.lobpcg(A, k=1)[0].round()
    tensor([9.])
    """
    if any(t is not None and t.requires_grad for t in (A, B)):
        raise NotImplementedError("lobpcg: there is no derivative; use linalg.eigh, or detach()")
    if method not in (None, "basic", "ortho"):
        raise ValueError(f"lobpcg: method must be 'basic' or 'ortho', not {method!r}")
    if tracker is not None:
        raise NotImplementedError("lobpcg: tracker is not supported")
    given = None if X is None else int(X.shape[-1])
    k = k or given or 1
    n = n or given or k
    m = A.shape[-1]
    if m < 3 * n:
        raise ValueError(
            f"LPBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than "
            f"3 x the number of requested eigenpairs (={n})"
        )
    steps = _ENOUGH if niter is None or niter < 0 else niter
    tol = dtypes.finfo(A._dtype).eps if tol is None else tol
    with no_grad():
        if X is None:
            X = randn(*A.shape[:-2], m, n, dtype=A._dtype, device=A._dev)
        return _each(A, B, X, iK, k, steps, tol, largest is None or largest)


def _each(A: Tensor, B: Any, X: Tensor, iK: Any, k: int, *options: Any) -> tuple[Tensor, Tensor]:
    if A.ndim == 2:
        return _solve(A, B, X, iK, k, *options)
    pick = [(None if t is None or t.ndim == 2 else t) for t in (B, iK)]
    parts = [
        _each(A[i], B if pick[0] is None else B[i], X[i], iK if pick[1] is None else iK[i], k,
              *options)
        for i in range(A.shape[0])
    ]  # fmt: skip
    return stack([p[0] for p in parts]), stack([p[1] for p in parts])


def _solve(
    A: Tensor, B: Any, X: Tensor, iK: Any, k: int, steps: int, tol: float, largest: bool
) -> tuple[Tensor, Tensor]:
    n = X.shape[-1]
    scale = A.norm() / A.shape[-1] ** 0.5
    values, X, _ = _best(A, B, _orthonormal(X, B), n, largest)
    P, least, since = None, float("inf"), 0
    for _ in range(steps):
        residual = A @ X - (X if B is None else B @ X) * values
        error = float((residual[:, :k].norm(dim=0) / (scale + values[:k].abs())).max())
        least, since = (error, 0) if error < 0.99 * least else (least, since + 1)
        if error < tol or since > _PATIENCE:
            break
        W = residual if iK is None else iK @ residual
        W = W / W.norm(dim=0).clamp_min(dtypes.finfo(W._dtype).tiny)
        others = _orthonormal(W if P is None else cat([W, P], 1), B, X)
        if not others.shape[-1]:
            break
        values, X, P = _best(A, B, cat([X, others], 1), n, largest)
    return values[:k], X[:, :k]


def _best(A: Tensor, B: Any, S: Tensor, n: int, largest: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the n best values and vectors in a span, and the parts beside its first n columns."""
    values, C = eigh(S.mT @ (A @ S))
    values, C = (values.flip(0)[:n], C.flip(1)[:, :n]) if largest else (values[:n], C[:, :n])
    return values, S @ C, S[:, n:] @ C[n:]


def _orthonormal(S: Tensor, B: Any, beside: Tensor | None = None) -> Tensor:
    """Return a basis of a span, orthonormal in the product of B, and orthogonal to `beside`."""
    eps = dtypes.finfo(S._dtype).eps
    for _ in range(2):  # once is not enough for rounding
        if beside is not None:
            S = S - beside @ (beside.mT @ (S if B is None else B @ S))
        S = S / S.norm(dim=0).clamp_min(dtypes.finfo(S._dtype).tiny)
        weights, turn = eigh(S.mT @ (S if B is None else B @ S))
        keep = int((weights > weights.amax() * eps * 10).sum())
        if not keep:
            return S[:, :0]
        S = S @ (turn[:, -keep:] / weights[-keep:].sqrt())
    return S


FUNCTIONS = {"lobpcg": lobpcg}
