"""`multitorch.linalg`: norms, products and factorizations of matrices.

Source: https://docs.pytorch.org/docs/stable/linalg.html
"""

from __future__ import annotations

from multitorch.ops.factor import qr
from multitorch.ops.linalg import matmul
from multitorch.ops.statistics import vector_norm

__all__ = ["matmul", "qr", "vector_norm"]
