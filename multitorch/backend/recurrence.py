"""Orthogonal polynomials by three-term recurrence: `c p[k] = a p[k - 1] - b p[k - 2]`, p[0] = 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Array = Any

FIRST: dict[str, Callable[[Array], Array]] = {
    "chebyshev_polynomial_t": lambda x: x,
    "chebyshev_polynomial_u": lambda x: x + x,
    "chebyshev_polynomial_v": lambda x: x + x - 1,
    "chebyshev_polynomial_w": lambda x: x + x + 1,
    "hermite_polynomial_h": lambda x: x + x,
    "hermite_polynomial_he": lambda x: x,
    "laguerre_polynomial_l": lambda x: 1 - x,
    "legendre_polynomial_p": lambda x: x,
    "shifted_chebyshev_polynomial_t": lambda x: x + x - 1,
    "shifted_chebyshev_polynomial_u": lambda x: 2 * (x + x - 1),
    "shifted_chebyshev_polynomial_v": lambda x: 2 * (x + x - 1) - 1,
    "shifted_chebyshev_polynomial_w": lambda x: 2 * (x + x - 1) + 1,
}
"""The polynomial of degree 1 of each family."""

Coefficients = Callable[[Array, Array], tuple[Array, Array, Array]]


def _chebyshev(x: Array, k: Array) -> tuple[Array, Array, Array]:
    return x + x, 1, 1


def _shifted_chebyshev(x: Array, k: Array) -> tuple[Array, Array, Array]:
    return 2 * (x + x - 1), 1, 1


COEFFICIENTS: dict[str, Coefficients] = {
    **dict.fromkeys([f"chebyshev_polynomial_{c}" for c in "tuvw"], _chebyshev),
    **dict.fromkeys([f"shifted_chebyshev_polynomial_{c}" for c in "tuvw"], _shifted_chebyshev),
    "hermite_polynomial_h": lambda x, k: (x + x, k + k - 2, 1),
    "hermite_polynomial_he": lambda x, k: (x, k - 1, 1),
    "laguerre_polynomial_l": lambda x, k: (k + k - 1 - x, k - 1, k),
    "legendre_polynomial_p": lambda x, k: ((k + k - 1) * x, k - 1, k),
}
"""a, b, c of the step to degree k."""
