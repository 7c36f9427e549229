"""Named tuples that ops with several results return, as `torch.return_types` has them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any


def _make(name: str, *fields: str) -> Any:
    class Result(namedtuple(name, fields)):
        __slots__ = ()

        def __repr__(self) -> str:
            lines = [f"{field}={value!r}" for field, value in zip(fields, self, strict=True)]
            return f"torch.return_types.{name}(\n" + ",\n".join(lines) + ")"

    Result.__name__ = Result.__qualname__ = name
    return Result


aminmax = _make("aminmax", "min", "max")
frexp = _make("frexp", "mantissa", "exponent")
cummax = _make("cummax", "values", "indices")
cummin = _make("cummin", "values", "indices")
histogram = _make("histogram", "hist", "bin_edges")
histogramdd = _make("histogramdd", "hist", "bin_edges")
kthvalue = _make("kthvalue", "values", "indices")
max = _make("max", "values", "indices")
median = _make("median", "values", "indices")
min = _make("min", "values", "indices")
mode = _make("mode", "values", "indices")
nanmedian = _make("nanmedian", "values", "indices")
sort = _make("sort", "values", "indices")
topk = _make("topk", "values", "indices")
linalg_qr = _make("linalg_qr", "Q", "R")
linalg_slogdet = _make("linalg_slogdet", "sign", "logabsdet")
linalg_eigh = _make("linalg_eigh", "eigenvalues", "eigenvectors")
linalg_svd = _make("linalg_svd", "U", "S", "Vh")
svd = _make("svd", "U", "S", "V")
linalg_cholesky_ex = _make("linalg_cholesky_ex", "L", "info")
linalg_eig = _make("linalg_eig", "eigenvalues", "eigenvectors")
linalg_inv_ex = _make("linalg_inv_ex", "inverse", "info")
linalg_ldl_factor = _make("linalg_ldl_factor", "LD", "pivots")
linalg_ldl_factor_ex = _make("linalg_ldl_factor_ex", "LD", "pivots", "info")
linalg_lstsq = _make("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
linalg_lu = _make("linalg_lu", "P", "L", "U")
linalg_lu_factor = _make("linalg_lu_factor", "LU", "pivots")
linalg_lu_factor_ex = _make("linalg_lu_factor_ex", "LU", "pivots", "info")
linalg_solve_ex = _make("linalg_solve_ex", "result", "info")
lu_unpack = _make("lu_unpack", "P", "L", "U")
geqrf = _make("geqrf", "a", "tau")
triangular_solve = _make("triangular_solve", "solution", "cloned_coefficient")
