"""Products of matrices, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import multitorch as torch
from tests.against_torch import compare

pytestmark = pytest.mark.oracle
RNG = np.random.default_rng(1)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def complex_(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


SHAPES = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)),
    ((5, 2, 3), (3, 4)), ((3,), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
]  # fmt: skip


@pytest.mark.parametrize("make", [real, complex_])
@pytest.mark.parametrize("x, y", SHAPES)
def test_matmul(oracle, device, make, x, y):
    compare(oracle, device, lambda lib, a, b: a @ b, make(*x), make(*y))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("make", [real, complex_])
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3)])
def test_linear(oracle, device, make, shape, bias):
    arrays = (make(*shape), make(5, 3), *([make(5)] if bias else []))
    compare(oracle, device, lambda lib, *a: lib.nn.functional.linear(*a), *arrays)
