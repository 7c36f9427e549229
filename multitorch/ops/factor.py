"""Matrix factorizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch.ops.op import Op
from multitorch.ops.promote import not_implemented
from multitorch.ops.return_types import linalg_qr

_MODES = ("reduced", "complete", "r")


def _qr_shape(x: Any, *, mode: str) -> Any:
    rows, columns = x.shape[-2:]
    inner = rows if mode == "complete" else min(rows, columns)
    batch = x.shape[:-2]
    return ((*batch, rows, inner), x.dtype), ((*batch, inner, columns), x.dtype)


def _no_derivative(F: Any, g: Any) -> Any:
    raise NotImplementedError("linalg.qr has no derivative yet")


_qr = Op("qr", "x", outs="q r", node="LinalgQr", shape=_qr_shape).vjp(x=_no_derivative)


def qr(A: Any, mode: str = "reduced") -> Any:  # noqa: N803 (PyTorch's name)
    """Factor matrices (..., m, n) into orthonormal Q (..., m, k) and upper triangular R (..., k, n).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.qr.html

    >>> q, r = multitorch.linalg.qr(multitorch.eye(2))
    >>> (q @ r).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if A.ndim < 2:
        raise RuntimeError(
            f"linalg.qr: The input tensor A must have at least 2 dimensions, got {A.ndim}"
        )
    if mode not in _MODES:
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    if not A.dtype.inexact or A.dtype.itemsize == 2:
        raise not_implemented("linalg_qr", A.dtype)
    q, r = _qr(A, mode="complete" if mode == "complete" else "reduced")
    return linalg_qr(q.new_empty(0) if mode == "r" else q, r)


def _qr_method(self: Any, some: bool = True) -> Any:
    return qr(self, "reduced" if some else "complete")


METHODS: dict[str, Callable] = {"qr": _qr_method}
