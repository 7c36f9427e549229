"""Factors, systems, eigenvalues and functions of matrices: what holds without an oracle.

Where PyTorch is installed, `tests/parity` compares values and derivatives with it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import pytest

import multitorch
from multitorch import linalg

RNG = np.random.default_rng(5)


def matrix(*shape: int, kind: str = "float64", device: str = "cpu") -> Any:
    a = RNG.standard_normal(shape)
    if kind.startswith("complex"):
        a = a + 1j * RNG.standard_normal(shape)
    return multitorch.tensor(a.astype(kind), device=device)


def near(x: Any, y: Any, tol: float = 1e-9) -> None:
    assert tuple(x.shape) == tuple(y.shape)
    np.testing.assert_allclose(x.numpy(force=True), y.numpy(force=True), rtol=tol, atol=tol)


# --- factors give back the matrix ----------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3, 5), (5, 3), (0, 2, 2)])
def test_lu_gives_back_the_matrix(device, shape):
    A = matrix(*shape, kind="complex128", device=device)
    P, L, U = linalg.lu(A)
    near(P @ L @ U, A)
    factors, pivots = linalg.lu_factor(A)
    near(factors.triu()[..., : U.shape[-2], :], U)
    assert pivots.dtype is multitorch.int32


@pytest.mark.parametrize("left, adjoint", [(True, True), (False, False)])
def test_lu_solve_broadcasts(device, left, adjoint):
    A, B = (matrix(*s, kind="complex128", device=device) for s in ((3, 3), (2, 3, 3)))
    LU, pivots = linalg.lu_factor(A)
    X = linalg.lu_solve(LU, pivots, B, left=left, adjoint=adjoint)
    A = A.mH if adjoint else A
    near(A @ X if left else X @ A, B)


def indefinite(kind: str, n: int, hermitian: bool) -> Any:
    """Return a batch with diagonals so small that some pivots take two rows."""
    A = matrix(4, n, n, kind=kind)
    A = A + (A.mH if hermitian else A.mT)
    scale = multitorch.tensor([1.0, 1e-3, 0.0, 1.0], dtype=multitorch.float64)
    diagonal = A.diagonal(0, -2, -1)
    return A + (diagonal * (scale.unsqueeze(-1) - 1)).diag_embed()


def test_ldl_solves_indefinite_systems(device):
    kind, hermitian = "complex128", True
    A, B = indefinite(kind, 7, hermitian), matrix(4, 7, 2, kind=kind)
    expected = linalg.ldl_factor(A, hermitian=hermitian)
    LD, pivots, info = linalg.ldl_factor_ex(A.to(device), hermitian=hermitian)
    assert not info.any() and bool((pivots < 0).any()) and bool((pivots > 0).any())
    assert pivots.tolist() == expected.pivots.tolist()
    near(LD, expected.LD, 1e-7)
    near(A @ linalg.ldl_solve(LD, pivots, B.to(device), hermitian=hermitian).cpu(), B, 1e-7)


@pytest.mark.parametrize("shape", [(2, 4, 3)])
def test_reflections_are_an_orthogonal_factor(device, shape):
    A = matrix(*shape, kind="complex128", device=device)
    packed, tau = multitorch.geqrf(A)
    m, n = shape[-2:]
    if m >= n:
        Q = linalg.householder_product(packed, tau)
        near(Q @ packed.triu()[..., :n, :], A)
    R = packed.triu()
    near(packed.ormqr(tau, R), A)
    near(multitorch.ormqr(packed, tau, A, transpose=True), R)
    near(multitorch.ormqr(packed, tau, A.mH, left=False), R.mH)


# --- systems -------------------------------------------------------------------------------------


@pytest.mark.parametrize("upper", [False, True])
def test_triangular_systems_read_one_triangle(device, upper):
    A, B = (matrix(*s, kind="complex128", device=device) for s in ((2, 3, 3), (3, 4)))
    part = A.triu() if upper else A.tril()
    near(part @ linalg.solve_triangular(A, B, upper=upper), B.expand(2, 3, 4))
    near(linalg.solve_triangular(A, B.mT, upper=upper, left=False) @ part, B.mT.expand(2, 4, 3))
    X, copy = B.triangular_solve(A, upper=upper, transpose=True)
    near(part.mT @ X, B.expand(2, 3, 4))
    near(copy, A)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_factors_solve(device, upper):
    A = matrix(2, 3, 3, kind="complex128", device=device)
    A = A @ A.mH + multitorch.eye(3, device=device)
    B = matrix(3, 2, kind="complex128", device=device)
    L, info = linalg.cholesky_ex(A, upper=upper)
    assert not info.any()
    near(A @ B.cholesky_solve(L, upper), B.expand(2, 3, 2))
    near(
        L.cholesky_inverse(upper) @ A,
        multitorch.eye(3, dtype=A.dtype, device=device).expand(2, 3, 3),
    )


def test_what_fails_is_told(device):
    good, bad = (
        [[4.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 4.0]],
        [[4.0, 1, 0], [1, -4, 1], [0, 1, 4]],
    )
    A = multitorch.tensor([good, bad], device=device)
    L, info = linalg.cholesky_ex(A)
    assert info.tolist() == [0, 2]
    near(L[0], linalg.cholesky(A[0]), 1e-6)
    singular = multitorch.tensor([good, [[1.0, 2, 3], [2, 4, 6], [1, 1, 1]]], device=device)
    assert linalg.inv_ex(singular).info.tolist() == [0, 3]
    assert linalg.solve_ex(singular, singular).info.tolist() == [0, 3]
    near(linalg.inv_ex(singular).inverse[0], linalg.inv(singular[0]), 1e-6)
    assert linalg.lu_factor_ex(singular).info.tolist() == [0, 3]
    assert linalg.cond(singular, 1).tolist()[1] == inf


FAILURES: list[Callable] = [
    lambda x: linalg.inv_ex(x, check_errors=True),
    lambda x: linalg.solve_ex(x, x, check_errors=True),
    lambda x: linalg.cholesky_ex(-x, check_errors=True),
]


@pytest.mark.parametrize("call", FAILURES, ids=range(len(FAILURES)))
def test_failures_are_linalg_errors(device, call):
    with pytest.raises(linalg.LinAlgError, match=r"\(Batch element 0\)"):
        call(multitorch.ones(2, 2, 2, device=device))
    assert issubclass(linalg.LinAlgError, RuntimeError)


SINGULAR: list[Callable] = [linalg.inv, lambda x: linalg.solve(x, x), lambda x: linalg.cholesky(-x)]


@pytest.mark.parametrize("call", SINGULAR, ids=range(len(SINGULAR)))
def test_singular_matrices_are_refused_on_the_cpu(call):
    with pytest.raises(linalg.LinAlgError):
        call(multitorch.ones(2, 2))


@pytest.mark.parametrize(
    "driver, shape", [("gels", (5, 3)), ("gels", (3, 5)), ("gelsd", (2, 5, 3))]
)
def test_least_squares(device, driver, shape):
    A, B = matrix(*shape, device=device), matrix(*shape[:-1], 2, device=device)
    found = linalg.lstsq(A, B, driver=driver)
    near(found.solution, linalg.pinv(A) @ B, 1e-8)
    assert (found.rank.numel() == 0) == (driver == "gels")
    assert (found.singular_values.numel() == 0) == (driver in ("gels", "gelsy"))
    if found.residuals.numel():
        near(found.residuals, ((A @ found.solution - B) ** 2).sum(-2))


def test_matrix_rank():
    A = multitorch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert linalg.matrix_rank(A).item() == 1
    assert linalg.matrix_rank(A, hermitian=True).item() == 1
    assert linalg.matrix_rank(multitorch.eye(3) * 2, 2.0).item() == 0
    assert linalg.matrix_rank(multitorch.eye(3) * 2, rtol=0.5).item() == 3


# --- functions -----------------------------------------------------------------------------------


def test_eigenvectors(device):
    A = matrix(2, 4, 4, device=device)
    values, vectors = linalg.eig(A)
    assert values.dtype is vectors.dtype is multitorch.complex128
    near(A.to(values.dtype) @ vectors, vectors * values.unsqueeze(-2))
    near(vectors.abs().square().sum(-2), multitorch.ones(2, 4, dtype=multitorch.float64))
    near(linalg.eigvals(A).sum(-1), A.diagonal(0, -2, -1).sum(-1).to(values.dtype))


@pytest.mark.parametrize("kind", ["float32", "complex128", "bfloat16"])
def test_the_exponential_of_a_rotation(device, kind):
    dtype = getattr(multitorch, kind)
    A = multitorch.tensor([[0.0, -30.0], [30.0, 0.0]], dtype=dtype, device=device)
    angle = A[1, 0].abs().item()
    expected = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tol = {"float32": 1e-5, "bfloat16": 1e-2}.get(kind, 1e-12)
    found = A.matrix_exp()
    assert found.dtype is dtype
    np.testing.assert_allclose(
        found.to(multitorch.complex128).numpy(force=True), expected, atol=tol
    )


def test_each_matrix_of_a_batch_has_its_own_scale(device):
    A = matrix(3, 4, 4, device=device) * multitorch.tensor(
        [1e-3, 1.0, 20.0], device=device
    ).reshape(-1, 1, 1)
    every = linalg.matrix_exp(A)
    for i in range(3):
        one = linalg.matrix_exp(A[i])
        near(every[i] / one.abs().max(), one / one.abs().max(), 1e-12)
    assert linalg.matrix_exp(A / 0).isnan().all()


def test_low_rank_approximations(device):
    A = matrix(2, 8, 2, device=device) @ matrix(2, 2, 5, device=device)
    U, S, V = multitorch.svd_lowrank(A.mT, q=2, niter=1)
    near(U @ S.diag_embed() @ V.mT, A.mT)
    U, S, V = multitorch.pca_lowrank(A, q=2, niter=1)
    near(U @ S.diag_embed() @ V.mT, A - A.mean(-2, keepdim=True))


@pytest.mark.parametrize("largest", [True, False])
def test_a_few_eigenvalues(largest):
    A, B = matrix(30, 30), matrix(30, 30)
    A, B = A + A.mT, B @ B.mT / 30 + multitorch.eye(30)
    expected = linalg.eigvalsh(A).flip(0)[:2] if largest else linalg.eigvalsh(A)[:2]
    values, vectors = multitorch.lobpcg(A, k=2, largest=largest)
    near(values, expected)
    near(A @ vectors, vectors * values, 1e-8)
    values, vectors = multitorch.lobpcg(A, B=B, X=matrix(30, 2), iK=linalg.inv(B), largest=largest)
    near(A @ vectors, B @ vectors * values, 1e-8)
    with pytest.raises(ValueError, match="not applicable"):
        multitorch.lobpcg(A, k=11)


def test_distances_by_products_are_distances(device):
    x, y = matrix(30, 4, device=device), matrix(28, 4, device=device)
    exact = multitorch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    near(multitorch.cdist(x, y), exact, 1e-7)
    same = x.clone().requires_grad_()
    multitorch.cdist(same, same.detach()).sum().backward()
    assert same.grad.isfinite().all()


# --- derivatives, compiled programs, tensors without data ----------------------------------------

DIFFERENTIABLE: dict[str, tuple[Callable, list[tuple]]] = {
    "lu_factor wide": (lambda a: linalg.lu_factor(a)[0], [(3, 5)]),
    "lu_factor tall": (lambda a: linalg.lu_factor(a)[0], [(5, 3)]),
    "lu_solve": (lambda a, b: multitorch.lu_solve(b, *multitorch.lu(a)), [(3, 3), (3, 2)]),
    "solve_ex": (lambda a, b: linalg.solve_ex(a, b)[0], [(2, 3, 3), (3, 2)]),
    "solve_triangular": (
        lambda a, b: linalg.solve_triangular(a, b, upper=True, left=False), [(3, 3), (2, 3)]
    ),
    "householder": (linalg.householder_product, [(4, 3), (3,)]),
    "matrix_exp": (linalg.matrix_exp, [(2, 3, 3)]),
    "eigvals": (lambda a: linalg.eigvals(a).abs(), [(3, 3)]),
    "lstsq": (lambda a, b: linalg.lstsq(a, b)[:2], [(4, 2), (4, 1)]),
    "qr wide": (lambda a: linalg.qr(a), [(2, 4)]),
    "svd full": (lambda a: linalg.svd(a)[1], [(4, 2)]),
    "cdist": (lambda a, b: multitorch.cdist(a, b, 3), [(3, 2), (2, 2)]),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_against_differences(name):
    function, shapes = DIFFERENTIABLE[name]
    inputs = tuple(matrix(*s).requires_grad_() for s in shapes)
    assert multitorch.autograd.gradcheck(function, inputs)
    assert multitorch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("name", ["lu_factor wide", "matrix_exp"])
def test_derivatives_agree_between_devices(device, name):
    function, shapes = DIFFERENTIABLE[name]
    arrays = [RNG.standard_normal(s) for s in shapes]
    found = []
    for where in ("cpu", device):
        inputs = [multitorch.tensor(a, device=where, requires_grad=True) for a in arrays]
        out = function(*inputs)
        found.append(multitorch.autograd.grad((out * out).sum(), inputs))
    for a, b in zip(*found, strict=True):
        near(b, a, 1e-8)


def test_phases_of_eigenvectors_have_no_derivative():
    A = matrix(3, 3, kind="complex128").requires_grad_()
    with pytest.raises(RuntimeError, match="mode='complete'"):
        linalg.qr(matrix(3, 2).requires_grad_(), "complete").R.sum().backward()
    linalg.eig(A).eigenvectors.abs().sum().backward()
    assert A.grad.isfinite().all()


SHAPES: dict[str, tuple[Callable, list[tuple]]] = {
    "lu": (linalg.lu, [(2, 4, 3)]),
    "lu_factor_ex": (linalg.lu_factor_ex, [(2, 3, 4)]),
    "solve_ex": (linalg.solve_ex, [(2, 3, 3), (3, 2)]),
    "cholesky_ex": (linalg.cholesky_ex, [(3, 3)]),
    "eig": (linalg.eig, [(2, 3, 3)]),
    "ldl_factor": (linalg.ldl_factor, [(3, 3)]),
    "geqrf": (multitorch.geqrf, [(2, 4, 3)]),
    "householder_product": (linalg.householder_product, [(4, 3), (2,)]),
    "matrix_exp": (multitorch.matrix_exp, [(3, 3)]),
    "cdist": (multitorch.cdist, [(30, 4), (5, 4)]),
    "cond": (lambda a: linalg.cond(a, 1), [(3, 3)]),
    "matrix_rank": (linalg.matrix_rank, [(3, 4)]),
    "svd_lowrank": (lambda a: multitorch.svd_lowrank(a, 2), [(5, 4)]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_without_data(name):
    function, shapes = SHAPES[name]
    inputs = [matrix(*s) + (9 * multitorch.eye(s[-1]) if s[-2:] == (3, 3) else 0) for s in shapes]
    results = [function(*inputs), function(*[x.to("meta") for x in inputs])]
    known, without = ([r] if isinstance(r, multitorch.Tensor) else list(r) for r in results)
    assert [(t.shape, t.dtype) for t in without] == [(t.shape, t.dtype) for t in known]


COMPILED: dict[str, Callable] = {
    "lu": lambda a: linalg.lu(a)[1],
    "inv_ex": lambda a: linalg.inv_ex(a)[0],
    "matrix_exp": linalg.matrix_exp,
    "eig": lambda a: linalg.eig(a)[0].real.sort()[0],
    "geqrf": lambda a: linalg.householder_product(*multitorch.geqrf(a)),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled(name):
    pytest.importorskip("jax")
    A = multitorch.eye(3) * 3 + multitorch.ones(3, 3)
    near(multitorch.compile(COMPILED[name])(A), COMPILED[name](A), 1e-4)


# --- errors --------------------------------------------------------------------------------------

ERRORS: list[Callable] = [
    lambda t: t.linalg.lu_factor(t.zeros(2, 3, 3)),
    lambda t: t.linalg.lu(t.ones(3)),
    lambda t: t.linalg.inv(t.zeros(3, 3)),
    lambda t: t.linalg.solve(t.zeros(2, 3, 3), t.ones(2, 3, 3)),
    lambda t: t.linalg.cholesky(-t.ones(2, 2)),
    lambda t: t.linalg.cond(t.ones(2, 3), 1),
    lambda t: t.linalg.cond(t.ones(2, 2), "abc"),
    lambda t: t.linalg.eig(t.ones(2, 3)),
    lambda t: t.linalg.lstsq(t.ones(3, 3), t.ones(3, 3), driver="x"),
    lambda t: t.linalg.lstsq(t.ones(3, 3), t.ones(2, 3)),
    lambda t: t.linalg.matrix_rank(t.ones(4)),
    lambda t: t.linalg.tensorinv(t.ones(3, 4), 1),
    lambda t: t.linalg.tensorsolve(t.ones(3, 4), t.ones(3)),
    lambda t: t.linalg.vander(t.tensor([3]), N=1),
    lambda t: t.linalg.solve_triangular(t.ones(3, 3), t.ones(2, 3), upper=True),
    lambda t: t.linalg.lu_solve(t.ones(3, 3), t.tensor([1, 2, 3]), t.ones(3, 3)),
    lambda t: t.linalg.householder_product(t.ones(2, 3), t.ones(3)),
    lambda t: t.linalg.matrix_exp(t.ones(2, 2).long()),
    lambda t: t.ormqr(t.ones(3, 3), t.ones(3, 3), t.ones(3, 3)),
    lambda t: t.geqrf(t.ones(3)),
    lambda t: t.cholesky_solve(t.ones(3, 3), t.ones(2, 3)),
    lambda t: t.cholesky_inverse(t.ones(2)),
    lambda t: t.lu_unpack(t.ones(3, 3), t.ones(3)),
    lambda t: t.cdist(t.ones(3, 3), t.ones(3, 2)),
    lambda t: t.cdist(t.ones(3, 3), t.ones(3, 3), -1),
    lambda t: t.cdist(t.ones(3, 3), t.ones(3, 3), compute_mode="x"),
    lambda t: t.pca_lowrank(t.ones(3, 3), q=9),
]


@pytest.mark.oracle
@pytest.mark.parametrize("call", ERRORS, ids=range(len(ERRORS)))
def test_errors_are_those_of_pytorch(oracle, call):
    with pytest.raises(Exception) as expected:
        call(oracle)
    with pytest.raises(Exception) as found:
        call(multitorch)
    kinds = {type(expected.value).__name__.lstrip("_"), type(expected.value).__name__}
    assert kinds & {kind.__name__ for kind in type(found.value).__mro__}
    assert str(expected.value).split("\n")[0] in str(found.value)
