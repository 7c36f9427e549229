"""Generic bodies of the Bessel and Airy functions: Chebyshev expansions in double precision.

Near the origin a function is expanded in x²; further out in 1/x, beside the cosine or exponential
of its asymptotic form. A branch that is not taken may overflow there; `where` leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from multitorch.backend import bessel_tables as tables

Array = Any

_2_PI = 2 / math.pi
_ROOT_HALF = math.sqrt(0.5)


def _chebyshev(table: Sequence[float], t: Array) -> Array:
    """Return the sum of `table[k] T_k(t)` by Clenshaw's recurrence."""
    twice = t + t
    first, second = twice * table[-1] + table[-2], table[-1]
    for c in table[-3:0:-1]:
        first, second = twice * first - second + c, first
    return t * first - second + table[0]


# --- oscillating functions: |x| <= 8, t = x²/32 - 1; beyond, t = 2 (8/x)² - 1 --------------------


def _near(x: Array) -> Array:
    return x * x * (1 / 32) - 1


def _far(F: Any, x: Array, p: Sequence[float], q: Sequence[float]) -> tuple[Array, Array, Array]:
    """Return P and Q of `sqrt(2 / (π x)) (P cos χ - Q sin χ)`, and `sqrt(1 / (π x))`.

    χ is x less an odd multiple of π/4: its sine and cosine are `(±sin x ± cos x) / sqrt(2)`.
    """
    x = F.where(x > 8, x, 8)
    z = 8 / x
    t = z * z * 2 - 1
    return _chebyshev(p, t), z * _chebyshev(q, t), F.sqrt(1 / x) * math.sqrt(1 / math.pi)


def bessel_j0(F: Any, x: Array) -> Array:
    """The Bessel function of the first kind, order 0."""
    a = F.abs(x)
    p, q, root = _far(F, a, tables.P0, tables.Q0)
    sin, cos = F.sin(a), F.cos(a)
    far = root * (p * (cos + sin) - q * (sin - cos))
    return F.where(a > 8, far, _chebyshev(tables.J0, _near(a)))


def bessel_j1(F: Any, x: Array) -> Array:
    """The Bessel function of the first kind, order 1."""
    a = F.abs(x)
    p, q, root = _far(F, a, tables.P1, tables.Q1)
    sin, cos = F.sin(a), F.cos(a)
    far = root * (p * (sin - cos) + q * (sin + cos))
    return F.where(a > 8, F.sign(x) * far, x * _chebyshev(tables.J1, _near(a)))


def bessel_y0(F: Any, x: Array) -> Array:
    """The Bessel function of the second kind, order 0."""
    p, q, root = _far(F, x, tables.P0, tables.Q0)
    sin, cos = F.sin(x), F.cos(x)
    far = root * (p * (sin - cos) + q * (sin + cos))
    t = _near(x)
    near = F.log(x) * _2_PI * _chebyshev(tables.J0, t) + _chebyshev(tables.Y0, t)
    return F.where(x > 8, far, near)


def bessel_y1(F: Any, x: Array) -> Array:
    """The Bessel function of the second kind, order 1."""
    p, q, root = _far(F, x, tables.P1, tables.Q1)
    sin, cos = F.sin(x), F.cos(x)
    far = root * (q * (sin - cos) - p * (sin + cos))
    t = _near(x)
    j1 = x * _chebyshev(tables.J1, t)
    near = (F.log(x) * j1 - 1 / x) * _2_PI + x * _chebyshev(tables.Y1, t)
    return F.where(x == 0, -math.inf, F.where(x > 8, far, near))


def spherical_bessel_j0(F: Any, x: Array) -> Array:
    """`sin(x) / x`, 1 at 0 and 0 at infinity."""
    safe = F.where(x == 0, 1, x)
    return F.where(x == 0, 1, F.where(F.abs(x) == math.inf, 0, F.sin(safe) / safe))


# --- decaying functions: x <= 2, t = x²/2 - 1; beyond, t = 4/x - 1 -------------------------------


def _k0_near(F: Any, x: Array) -> Array:
    return _chebyshev(tables.K0, x * x * 0.5 - 1) - F.log(x * 0.5) * F.i0(F.where(x > 2, 2, x))


def _k1_near(F: Any, x: Array) -> Array:
    smooth = _chebyshev(tables.K1, x * x * 0.5 - 1) / x
    return F.where(x == 0, math.inf, smooth + F.log(x * 0.5) * F.i1(F.where(x > 2, 2, x)))


def _decay(F: Any, x: Array, table: Sequence[float]) -> Array:
    """Return the far form of K without its factor `exp(-x)`."""
    x = F.where(x > 2, x, 2)
    return _chebyshev(table, 4 / x - 1) / F.sqrt(x)


def modified_bessel_k0(F: Any, x: Array) -> Array:
    """The modified Bessel function of the second kind, order 0."""
    return F.where(x > 2, F.exp(-x) * _decay(F, x, tables.K0_FAR), _k0_near(F, x))


def modified_bessel_k1(F: Any, x: Array) -> Array:
    """The modified Bessel function of the second kind, order 1."""
    return F.where(x > 2, F.exp(-x) * _decay(F, x, tables.K1_FAR), _k1_near(F, x))


def scaled_modified_bessel_k0(F: Any, x: Array) -> Array:
    """`exp(x)` times the modified Bessel function of the second kind, order 0."""
    return F.where(x > 2, _decay(F, x, tables.K0_FAR), F.exp(x) * _k0_near(F, x))


def scaled_modified_bessel_k1(F: Any, x: Array) -> Array:
    """`exp(x)` times the modified Bessel function of the second kind, order 1."""
    return F.where(x > 2, _decay(F, x, tables.K1_FAR), F.exp(x) * _k1_near(F, x))


# --- Airy: in x on [-5, 2]; beyond, in powers of ζ(end) / ζ with ζ = (2/3) |x|^(3/2) -------------

_ZETA_2, _ZETA_5 = (2 / 3 * n * math.sqrt(n) for n in (2, 5))


def airy_ai(F: Any, x: Array) -> Array:
    """The Airy function Ai, the solution of `y'' = x y` that decays."""
    middle = _chebyshev(tables.AIRY, (x * 2 + 3) * (1 / 7))
    return F.where(x > 2, _airy_decay(F, x), F.where(x < -5, _airy_waves(F, x), middle))


def _airy_decay(F: Any, x: Array) -> Array:
    x = F.where(x > 2, x, 2)
    root = F.sqrt(x)
    zeta = x * root * (2 / 3)
    return F.exp(-zeta) * _chebyshev(tables.AIRY_FAR, _ZETA_2 / zeta * 2 - 1) / F.sqrt(root)


def _airy_waves(F: Any, x: Array) -> Array:
    z = F.where(x < -5, -x, 5)
    root = F.sqrt(z)
    zeta = z * root * (2 / 3)
    u = _ZETA_5 / zeta
    t = u * u * 2 - 1
    p, q = _chebyshev(tables.AIRY_P, t), u * _chebyshev(tables.AIRY_Q, t)
    sin, cos = F.sin(zeta), F.cos(zeta)
    waves = p * (cos + sin) + q * (sin - cos)
    return waves * (_ROOT_HALF / math.sqrt(math.pi)) / F.sqrt(root)
