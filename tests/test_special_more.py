"""Bessel functions, orthogonal polynomials: over their whole range, where they change their form."""

from __future__ import annotations

import math

import numpy as np
import pytest

import multitorch as mt

NAN, INF = math.nan, math.inf
SCIPY = {
    "bessel_j0": "j0", "bessel_j1": "j1", "bessel_y0": "y0", "bessel_y1": "y1",
    "modified_bessel_i0": "i0", "modified_bessel_i1": "i1", "modified_bessel_k0": "k0",
    "modified_bessel_k1": "k1", "scaled_modified_bessel_k0": "k0e",
    "scaled_modified_bessel_k1": "k1e",
}  # fmt: skip
POSITIVE = ("bessel_y", "bessel_k")
RANGE = np.concatenate([np.linspace(-20, 20, 401), np.geomspace(1e-6, 300, 200)])
"""The forms change at 2, 5 and 8."""

AT_LIMITS = [  # at 0, -1, inf
    ("bessel_j0", [1, 0.7651976865579666, NAN]),
    ("bessel_j1", [0, -0.44005058574493355, NAN]),
    ("bessel_y0", [-INF, NAN, NAN]),
    ("bessel_y1", [-INF, NAN, NAN]),
    ("modified_bessel_k0", [INF, NAN, 0]),
    ("modified_bessel_k1", [INF, NAN, 0]),
    ("scaled_modified_bessel_k0", [INF, NAN, 0]),
    ("scaled_modified_bessel_k1", [INF, NAN, 0]),
    ("spherical_bessel_j0", [1, 0.8414709848078965, 0]),
]
FIVE = {  # degrees 0 to 4 at x = 0.5
    "chebyshev_polynomial_t": [1, 0.5, -0.5, -1, -0.5],
    "chebyshev_polynomial_u": [1, 1, 0, -1, -1],
    "chebyshev_polynomial_v": [1, 0, -1, -1, 0],
    "chebyshev_polynomial_w": [1, 2, 1, -1, -2],
    "hermite_polynomial_h": [1, 1, -1, -5, 1],
    "hermite_polynomial_he": [1, 0.5, -0.75, -1.375, 1.5625],
    "laguerre_polynomial_l": [1, 0.5, 0.125, -7 / 48, -127 / 384],
    "legendre_polynomial_p": [1, 0.5, -0.125, -0.4375, -0.2890625],
    "shifted_chebyshev_polynomial_t": [1, 0, -1, 0, 1],
    "shifted_chebyshev_polynomial_u": [1, 0, -1, 0, 1],
    "shifted_chebyshev_polynomial_v": [1, -1, -1, 1, 1],
    "shifted_chebyshev_polynomial_w": [1, 1, -1, -1, 1],
}


def values(t: mt.Tensor) -> np.ndarray:
    return t.cpu().numpy()


@pytest.mark.parametrize("name", [*SCIPY, "airy_ai", "spherical_bessel_j0"])
def test_over_the_whole_range(device, name):
    scipy = pytest.importorskip("scipy.special")
    x = RANGE[RANGE > 0] if any(p in name for p in POSITIVE) else RANGE
    if name == "airy_ai":
        expected = scipy.airy(x)[0]
    elif name == "spherical_bessel_j0":
        expected = np.sinc(x / np.pi)
    else:
        expected = getattr(scipy, SCIPY[name])(x)
    function = getattr(mt.special, name)
    actual = values(function(mt.tensor(x, device=device)))
    np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-12)
    near = np.abs(x) < 30  # an argument in single precision has no phase further out
    single = function(mt.tensor(x[near], dtype=mt.float32, device=device))
    assert single.dtype is mt.float32
    np.testing.assert_allclose(values(single), expected[near], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name, expected", AT_LIMITS)
def test_limits(device, name, expected):
    t = getattr(mt.special, name)(mt.tensor([0.0, -1.0, INF], dtype=mt.float64, device=device))
    np.testing.assert_allclose(values(t), expected, rtol=1e-14)


@pytest.mark.parametrize("name", FIVE)
def test_degrees(device, name):
    function = getattr(mt.special, name)
    n = mt.tensor([0, 1, 2, 3, 4, -1], device=device)
    x = mt.full((2, 1), 0.5, dtype=mt.float64, device=device)
    expected = [[*FIVE[name], 0]] * 2
    np.testing.assert_allclose(values(function(x, n)), expected, atol=1e-15)
    np.testing.assert_allclose(values(function(0.5, n)), expected[0], atol=1e-6)
    np.testing.assert_allclose(values(function(x, 3.7)), [[FIVE[name][3]]] * 2, atol=1e-15)


def test_degree_that_is_no_number(device):
    x = mt.tensor(2.0, device=device)
    n = mt.tensor([NAN, INF, -INF, 1.0], device=device)
    assert values(mt.special.legendre_polynomial_p(x, n)).tolist() == [0, 0, 0, 2]
    with pytest.raises(TypeError, match="must be Tensor"):
        mt.special.hermite_polynomial_h(2.0, 3)


@pytest.mark.parametrize("dtype", ["int64", "bool", "bfloat16", "float16"])
def test_other_dtypes(device, dtype):
    x = mt.tensor([0, 1], device=device).to(getattr(mt, dtype))
    t = mt.special.bessel_j0(x)
    assert t.dtype is (x.dtype if x.dtype.is_floating_point else mt.float32)
    np.testing.assert_allclose(values(t.float()), [1, 0.7651977], rtol=1e-2)
    p = mt.special.hermite_polynomial_he(x, 3)
    assert p.dtype is t.dtype
    assert values(p.float()).tolist() == [0, -2]


def test_no_derivatives(device):
    x = mt.tensor([1.5], requires_grad=True, device=device)
    assert not mt.special.bessel_j0(x).requires_grad
    assert not mt.special.chebyshev_polynomial_t(x, 3).requires_grad


def test_shapes_without_data():
    x, n = mt.empty(3, 1, device="meta"), mt.empty(4, device="meta", dtype=mt.int64)
    assert mt.special.airy_ai(x).shape == (3, 1)
    assert mt.special.legendre_polynomial_p(x, n).shape == (3, 4)


def test_compiled(device):
    if device == "mini":
        pytest.skip("this backend does not compile")

    def both(x):
        return mt.special.modified_bessel_k1(x) + mt.special.laguerre_polynomial_l(x, 3)

    x = mt.tensor([0.5, 3.0], dtype=mt.float64, device=device)
    np.testing.assert_allclose(values(mt.compile(both)(x)), values(both(x)), rtol=1e-12)


@pytest.mark.parametrize("name", ["eq", "gt", "fmod", "copysign", "rsub", "clamp_min"])
def test_the_first_operand_is_a_tensor(device, name):
    x = mt.tensor([1, 2], device=device)
    function = getattr(mt, name)
    assert function(x, 2).shape == (2,)
    with pytest.raises(TypeError, match=r"'(x|input)' \(position 1\) must be Tensor, not int"):
        function(2, x)


@pytest.mark.parametrize("name", ["gcd", "lcm", "logical_and", "logical_or", "logical_xor"])
def test_both_operands_are_tensors(device, name):
    x, function = mt.tensor([1, 2], device=device), getattr(mt, name)
    for operands in ((x, 2), (2, x), (2, 3)):
        with pytest.raises(TypeError, match="must be Tensor, not int"):
            function(*operands)


def test_reflected_operators(device):
    x = mt.tensor([1, 2], device=device)
    assert values(2 + x).tolist() == [3, 4]
    assert values(2 * x).tolist() == [2, 4]
    assert values(3 & x).tolist() == [1, 2]
    with pytest.raises(TypeError, match="must be Tensor, not int"):
        mt.Tensor.__radd__(2, x)  # type: ignore[arg-type]


def test_logarithms_of_complex_sums(device):
    x = mt.tensor([1 + 2j, -INF + 0j, 800 + 1j, 1j], device=device)
    y = mt.tensor([1 - 2j, -INF + 0j, 800 + 1j, -INF + 1j], device=device)
    expected = [np.log(np.exp(1 + 2j) + np.exp(1 - 2j)), -INF, 800 + math.log(2) + 1j, 1j]
    np.testing.assert_allclose(values(mt.logaddexp(x, y)), expected, rtol=1e-6)
    z = mt.tensor([0j, 1 + 1j, 900 + 0j], device=device)
    expected = [0, np.log(1 + np.exp(1 + 1j)), 900]
    np.testing.assert_allclose(values(mt.logcumsumexp(z, 0)), expected, rtol=1e-6)
