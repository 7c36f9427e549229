"""Linear algebra, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import pytest

import multitorch
from tests.against_torch import compare

pytestmark = pytest.mark.oracle
RNG = np.random.default_rng(1)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def complex_(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


# --- products ------------------------------------------------------------------------------------

SHAPES = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)),
    ((5, 2, 3), (3, 4)), ((3,), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
]  # fmt: skip


@pytest.mark.parametrize("make", [real, complex_])
@pytest.mark.parametrize("x, y", SHAPES)
def test_matmul(oracle, device, make, x, y):
    compare(oracle, device, lambda lib, a, b: a @ b, make(*x), make(*y))


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "float16", "bfloat16"])
def test_matmul_of_other_dtypes(oracle, device, dtype):
    x, y = np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)
    found, expected = (
        lib.tensor(x, dtype=getattr(lib, dtype), device=where)
        @ lib.tensor(y, dtype=getattr(lib, dtype), device=where)
        for lib, where in ((multitorch, device), (oracle, "cpu"))
    )
    assert str(found.dtype) == str(expected.dtype)
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("make", [real, complex_])
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3)])
def test_linear(oracle, device, make, shape, bias):
    arrays = (make(*shape), make(5, 3), *([make(5)] if bias else []))
    compare(oracle, device, lambda lib, *a: lib.nn.functional.linear(*a), *arrays)


PRODUCTS: dict[str, tuple[Callable, tuple]] = {
    "addmm": (lambda t, i, a, b: t.addmm(i, a, b, beta=0.5, alpha=2), ((4,), (2, 3), (3, 4))),
    "addmv": (lambda t, i, a, b: t.addmv(i, a, b, beta=0.5), ((2,), (2, 3), (3,))),
    "baddbmm": (lambda t, i, a, b: t.baddbmm(i, a, b, alpha=3), ((2, 4), (5, 2, 3), (5, 3, 4))),
    "addbmm": (lambda t, i, a, b: t.addbmm(i, a, b, alpha=3), ((2, 4), (5, 2, 3), (5, 3, 4))),
    "addr": (lambda t, i, a, b: t.addr(i, a, b, beta=0.5), ((2, 4), (2,), (4,))),
    "bmm": (lambda t, a, b: t.bmm(a, b), ((5, 2, 3), (5, 3, 4))),
    "vectors": (
        lambda t, a, b: (t.dot(a, b), t.vdot(a, b), t.outer(a, b), t.linalg.vecdot(a, b)),
        ((3,), (3,)),
    ),
    "inner": (lambda t, a, b: t.inner(a, b), ((2, 3), (4, 5, 3))),
    "trace": (lambda t, a: t.trace(a), ((3, 4),)),
    "cross": (lambda t, a, b: (t.cross(a, b, dim=1), t.linalg.cross(a, b)), ((2, 3), (2, 3))),
    "multi_dot": (lambda t, *a: t.linalg.multi_dot(a), ((2, 3), (3, 4), (4, 2), (2,))),
    "tensordot": (
        lambda t, a, b: (t.tensordot(a, b, ([1, 2], [0, 1])), t.tensordot(a, b, 0)),
        ((2, 3, 4), (3, 4, 5)),
    ),
}


@pytest.mark.parametrize("make", [real, complex_])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(oracle, device, name, make):
    function, shapes = PRODUCTS[name]
    compare(oracle, device, function, *(make(*shape) for shape in shapes))


def test_bilinear(oracle, device):
    arrays = real(2, 5, 3), real(2, 5, 4), real(6, 3, 4), real(6)
    compare(oracle, device, lambda t, *a: t.nn.functional.bilinear(*a), *arrays)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("ii->i", (3, 3)), ("ii", (3, 3)), ("i,j->ij", (3,), (4,)), ("ij->", (2, 3)),
    ("...ij,...jk->...ik", (5, 1, 2, 3), (4, 3, 2)), ("ij,j->i", (2, 1), (3,)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("ij,kj,lj->ikl", (2, 3), (4, 3), (5, 3)),
    ("ijk,ilm,njm,nlk,abc->", (2, 3, 4), (2, 5, 6), (7, 3, 6), (7, 5, 4), (2, 1, 1)),
    ("i...->...", (2, 3)), (" i j -> j i ", (2, 3)), ("aabb->ab", (2, 2, 3, 3)),
    ("ij,jk->k", (2, 3), (3, 4)), ("...,...->...", (2, 3), (3,)), ("a,b,c->cab", (2,), (3,), (4,)),
    ("ij...,j->...i", (2, 3, 4, 5), (3,)),
]  # fmt: skip


@pytest.mark.parametrize("equation, shapes", [(e, s) for e, *s in EQUATIONS])
def test_einsum(oracle, device, equation, shapes):
    compare(oracle, device, lambda t, *a: t.einsum(equation, *a), *(real(*s) for s in shapes))


def test_einsum_with_lists(oracle, device):
    compare(oracle, device, lambda t, a, b: t.einsum(a, [0, 1], b, [1, 2], [2, 0]),
            real(2, 3), complex_(3, 4).real)  # fmt: skip


# --- norms and decompositions --------------------------------------------------------------------


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, inf, -inf])
def test_matrix_norm(oracle, device, ord):
    compare(oracle, device, lambda t, a: t.linalg.matrix_norm(a, ord), real(2, 3, 4))
    compare(oracle, device, lambda t, a: t.linalg.norm(a, ord, keepdim=True), real(3, 4), order=1)


def signed_qr(t: Any, a: Any) -> tuple:
    q, r = t.linalg.qr(a)
    sign = r.diagonal(0, -2, -1).detach().sign()
    return q * sign.unsqueeze(-2), r * sign.unsqueeze(-1)


def signed_eigh(t: Any, a: Any) -> tuple:
    values, vectors = t.linalg.eigh(a + a.mT)
    return values, vectors * vectors[..., :1, :].detach().sign()


def signed_svd(t: Any, a: Any) -> tuple:
    u, s, vh = t.linalg.svd(a, full_matrices=False)
    sign = u[..., :1, :].detach().sign()
    return u * sign, s, vh * sign.mT


def positive(t: Any, a: Any) -> Any:
    return a @ a.mH + t.eye(3, dtype=a.dtype, device=a.device)


DECOMPOSITIONS: dict[str, tuple[Callable, list[tuple]]] = {
    "inv": (lambda t, a: t.linalg.inv(a), [(2, 3, 3)]),
    "det": (lambda t, a: t.linalg.det(a), [(2, 3, 3)]),
    "slogdet": (lambda t, a: t.linalg.slogdet(a)[1], [(2, 3, 3)]),
    "solve": (lambda t, a, b: t.linalg.solve(a, b), [(2, 3, 3), (3, 2)]),
    "solve vector": (lambda t, a, b: t.linalg.solve(a, b), [(3, 3), (3,)]),
    "cholesky": (lambda t, a: t.linalg.cholesky(positive(t, a)), [(2, 3, 3)]),
    "qr": (signed_qr, [(2, 4, 3)]),
    "eigh": (signed_eigh, [(2, 3, 3)]),
    "svd": (signed_svd, [(2, 3, 4)]),
    "pinv": (lambda t, a: t.linalg.pinv(a), [(4, 3)]),
    "matrix_power": (lambda t, a: t.linalg.matrix_power(a, -3), [(3, 3)]),
}
COMPLEX = {
    **{name: DECOMPOSITIONS[name] for name in ("inv", "det", "solve", "cholesky", "pinv")},
    "svd": (lambda t, a: [x.abs() for x in t.linalg.svd(a, full_matrices=False)], [(4, 3)]),
}


@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_decompositions(oracle, device, name):
    function, shapes = DECOMPOSITIONS[name]
    compare(oracle, device, function, *(real(*s) for s in shapes), tol=1e-7)


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_decompositions(oracle, device, name):
    function, shapes = COMPLEX[name]
    compare(oracle, device, function, *(complex_(*s) for s in shapes), order=1, tol=1e-7)


# --- errors and names ----------------------------------------------------------------------------

ERRORS: list[Callable] = [
    lambda t: t.ones(2, 3) @ t.ones(2, 3),
    lambda t: t.ones(2, 3) @ t.ones(3, 2).double(),
    lambda t: t.ones(2, 3).long() @ t.ones(3, 2),
    lambda t: t.ones(2, 2).bool() @ t.ones(2, 2).bool(),
    lambda t: t.ones(3) @ t.ones(2),
    lambda t: t.ones(2, 3) @ t.ones(2),
    lambda t: t.ones(2) @ t.ones(3, 2),
    lambda t: t.tensor(1.0) @ t.ones(3, 2),
    lambda t: t.ones(2, 3, 3) @ t.ones(2, 2, 3),
    lambda t: t.ones(2, 3, 3) @ t.ones(3, 3, 3),
    lambda t: t.matmul(t.ones(2), 3),
    lambda t: t.mm(t.ones(3), t.ones(3, 2)),
    lambda t: t.mm(t.ones(2, 3), t.ones(3)),
    lambda t: t.bmm(t.ones(2, 3), t.ones(2, 3)),
    lambda t: t.bmm(t.ones(2, 3, 3), t.ones(3, 3, 3)),
    lambda t: t.dot(t.ones(2, 3), t.ones(2)),
    lambda t: t.dot(t.ones(3), t.ones(3).double()),
    lambda t: t.inner(t.ones(2, 3), t.ones(3, 4)),
    lambda t: t.trace(t.ones(3)),
    lambda t: t.addmm(t.ones(3, 3), t.ones(2, 3), t.ones(3, 4)),
    lambda t: t.tensordot(t.ones(2, 3), t.ones(3, 4), ([0], [0])),
    lambda t: t.nn.functional.linear(t.ones(2, 3), t.ones(4, 2), t.ones(4)),
    lambda t: t.einsum("ij,jk"),
    lambda t: t.einsum("ij,jk", t.ones(2, 3)),
    lambda t: t.einsum("ij->k", t.ones(2, 3)),
    lambda t: t.einsum("ij,kj->ii", t.ones(2, 3), t.ones(2, 3)),
    lambda t: t.einsum("ij,jk", t.ones(2, 3), t.ones(2, 3)),
    lambda t: t.einsum("i", t.ones(2, 3)),
    lambda t: t.einsum("i1", t.ones(2, 3)),
    lambda t: t.einsum("ii->i", t.ones(2, 3)),
    lambda t: t.linalg.norm(t.ones(2, 2, 2), 2),
    lambda t: t.linalg.cross(t.ones(2, 3), t.ones(3)),
]


@pytest.mark.parametrize("call", ERRORS, ids=range(len(ERRORS)))
def test_errors_are_those_of_pytorch(oracle, call):
    with pytest.raises(Exception) as expected:
        call(oracle)
    with pytest.raises(type(expected.value)) as found:
        call(multitorch)
    assert str(expected.value).split("\n")[0] in str(found.value)


NODES: list[Callable] = [
    lambda t, x: x @ x.t(),
    lambda t, x: x @ t.ones(3),
    lambda t, x: x[0] @ t.ones(3),
    lambda t, x: t.bmm(x.view(1, 2, 3), t.ones(1, 3, 2)),
    lambda t, x: t.nn.functional.linear(x, t.ones(4, 3)),
    lambda t, x: t.nn.functional.linear(x, t.ones(4, 3), t.ones(4)),
    lambda t, x: t.addmm(t.ones(2), x, t.ones(3, 2)),
    lambda t, x: t.addmv(t.ones(2), x, t.ones(3)),
]


@pytest.mark.parametrize("call", NODES, ids=range(len(NODES)))
def test_grad_fn_names(oracle, call):
    names = [
        call(lib, lib.ones(2, 3, requires_grad=True)).grad_fn.name() for lib in (multitorch, oracle)
    ]
    assert names[0] == names[1]
