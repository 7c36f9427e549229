"""Orthogonal polynomials of `torch.special`. As in PyTorch, they have no derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch.ops.apply import apply_general
from multitorch.ops.op import op
from multitorch.ops.promote import real_to_float

_polynomial = op("polynomial", "x n", promote=real_to_float).nondiff()


def _family(name: str, title: str) -> Callable:
    """Return the function of one family; x, or the degree n, may be a number."""

    def function(x: Any, n: Any, *, out: Any = None) -> Any:
        return apply_general(_polynomial.op, (x, n), {"family": name}, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Return {title} of degree n at x; n is cut to an integer, and 0 stands for n < 0."
    )
    return function


chebyshev_polynomial_t = _family(
    "chebyshev_polynomial_t", "the Chebyshev polynomial of the first kind"
)
chebyshev_polynomial_u = _family(
    "chebyshev_polynomial_u", "the Chebyshev polynomial of the second kind"
)
chebyshev_polynomial_v = _family(
    "chebyshev_polynomial_v", "the Chebyshev polynomial of the third kind"
)
chebyshev_polynomial_w = _family(
    "chebyshev_polynomial_w", "the Chebyshev polynomial of the fourth kind"
)
hermite_polynomial_h = _family("hermite_polynomial_h", "the physicist's Hermite polynomial")
hermite_polynomial_he = _family("hermite_polynomial_he", "the probabilist's Hermite polynomial")
laguerre_polynomial_l = _family("laguerre_polynomial_l", "the Laguerre polynomial")
legendre_polynomial_p = _family("legendre_polynomial_p", "the Legendre polynomial")
shifted_chebyshev_polynomial_t = _family(
    "shifted_chebyshev_polynomial_t", "the Chebyshev polynomial of the first kind, at 2x - 1,"
)
shifted_chebyshev_polynomial_u = _family(
    "shifted_chebyshev_polynomial_u", "the Chebyshev polynomial of the second kind, at 2x - 1,"
)
shifted_chebyshev_polynomial_v = _family(
    "shifted_chebyshev_polynomial_v", "the Chebyshev polynomial of the third kind, at 2x - 1,"
)
shifted_chebyshev_polynomial_w = _family(
    "shifted_chebyshev_polynomial_w", "the Chebyshev polynomial of the fourth kind, at 2x - 1,"
)
