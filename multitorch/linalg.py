"""Linear algebra, `torch.linalg`."""

from __future__ import annotations

from multitorch.ops.decompose import (
    cholesky,
    det,
    eigh,
    eigvalsh,
    inv,
    matrix_power,
    slogdet,
    solve,
    svdvals,
)
from multitorch.ops.decompose import linalg_pinv as pinv
from multitorch.ops.decompose import linalg_qr as qr
from multitorch.ops.decompose import linalg_svd as svd
from multitorch.ops.linalg import linalg_cross as cross
from multitorch.ops.linalg import matmul, multi_dot, vecdot
from multitorch.ops.matrix_norm import linalg_norm as norm
from multitorch.ops.matrix_norm import matrix_norm
from multitorch.ops.statistics import vector_norm

LinAlgError = RuntimeError

__all__ = [
    "LinAlgError", "cholesky", "cross", "det", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm",
    "matrix_power", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "svd", "svdvals",
    "vecdot", "vector_norm",
]  # fmt: skip
