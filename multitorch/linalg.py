"""Linear algebra, `torch.linalg`."""

from __future__ import annotations

from multitorch.backend import LinAlgError
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
from multitorch.ops.eig import cond, eig, eigvals, matrix_rank
from multitorch.ops.householder import householder_product
from multitorch.ops.linalg import linalg_cross as cross
from multitorch.ops.linalg import matmul, multi_dot, vecdot
from multitorch.ops.lstsq import lstsq
from multitorch.ops.lu import (
    inv_ex,
    ldl_factor,
    ldl_factor_ex,
    ldl_solve,
    lu_factor,
    lu_factor_ex,
    solve_ex,
)
from multitorch.ops.lu import linalg_lu as lu
from multitorch.ops.lu import linalg_lu_solve as lu_solve
from multitorch.ops.matrix_functions import linalg_diagonal as diagonal
from multitorch.ops.matrix_functions import linalg_vander as vander
from multitorch.ops.matrix_functions import matrix_exp, tensorinv, tensorsolve
from multitorch.ops.matrix_norm import linalg_norm as norm
from multitorch.ops.matrix_norm import matrix_norm
from multitorch.ops.statistics import vector_norm
from multitorch.ops.triangular import cholesky_ex, solve_triangular

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh",
    "eigvals", "eigvalsh", "householder_product", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex",
    "ldl_solve", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp",
    "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet",
    "solve", "solve_ex", "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve",
    "vander", "vecdot", "vector_norm",
]  # fmt: skip
