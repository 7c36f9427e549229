"""Compare gradients with finite differences, to first and second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multitorch.autograd.interface import grad


class GradcheckError(RuntimeError):
    """Raised when a gradient differs from its finite difference."""


def _tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "_node")


def _differentiable(values: Sequence[Any]) -> list[Any]:
    return [v for v in values if _is_tensor(v) and v.requires_grad]


def _host(t: Any) -> np.ndarray:
    return np.array(t.detach().cpu().numpy())


def _call(function: Callable, inputs: tuple) -> list[np.ndarray]:
    return [_host(t) for t in _tuple(function(*inputs)) if _is_tensor(t) and t.dtype.inexact]


def _numerical(function: Callable, inputs: tuple, x: Any, eps: float) -> list[np.ndarray]:
    """Return, per output, the matrix d out / d x of central differences (rows: x's directions)."""
    value = _host(x)
    steps = (eps, 1j * eps) if np.iscomplexobj(value) else (eps,)
    columns: list[list[np.ndarray]] = []
    for i in range(value.size):
        for step in steps:
            results = []
            for sign in (1, -1):
                moved = value.copy()
                moved.reshape(-1)[i] += sign * step
                _assign(x, moved)
                results.append(_call(function, inputs))
            _assign(x, value)
            pairs = zip(*results, strict=True)
            columns.append([((up - down) / (2 * eps)).reshape(-1) for up, down in pairs])
    return [np.array(list(column)) for column in zip(*columns, strict=True)]


def _assign(x: Any, value: np.ndarray) -> None:
    x.data.copy_(x.new_tensor(value))


def _analytical(function: Callable, inputs: tuple, x: Any) -> list[np.ndarray]:
    outs = [t for t in _tuple(function(*inputs)) if _is_tensor(t) and t.dtype.inexact]
    return [_jacobian(t, x) for t in outs]


def _jacobian(out: Any, x: Any) -> np.ndarray:
    """Return the gradients of the real (and imaginary) parts of out, one in each row."""
    parts = (1, 1j) if out.is_complex() else (1,)
    rows = []
    for i in range(out.numel()):
        for part in parts:
            seed = np.zeros(tuple(out.shape), out.dtype.np)
            seed.reshape(-1)[i] = part
            g = None
            if out.requires_grad:
                (g,) = grad(out, x, out.new_tensor(seed), retain_graph=True, allow_unused=True)
            rows.append(np.zeros(tuple(x.shape), x.dtype.np) if g is None else _host(g))
    return np.array([row.reshape(-1) for row in rows]).reshape(len(rows), x.numel())


def _as_real(numerical: np.ndarray, complex_in: bool, complex_out: bool) -> np.ndarray:
    """Return d (real parts of out) / d (real parts of x), a real matrix (directions of x, out)."""
    if not complex_out:
        return np.real(numerical)
    return np.stack([np.real(numerical), np.imag(numerical)], -1).reshape(len(numerical), -1)


def _gradients_as_real(rows: np.ndarray, complex_in: bool) -> np.ndarray:
    if not complex_in:
        return np.real(rows).T
    return np.stack([np.real(rows), np.imag(rows)], -1).reshape(len(rows), -1).T


def gradcheck(
    func: Callable,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check the gradients of `func` at `inputs` against central differences.

    Use float64 or complex128 inputs. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html
    """
    inputs = _tuple(inputs)
    try:
        _check(func, inputs, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(func: Callable, inputs: tuple, eps: float, atol: float, rtol: float) -> None:
    variables = _differentiable(inputs)
    if not variables:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them "
            "have requires_grad=True."
        )
    outs = [t for t in _tuple(func(*inputs)) if _is_tensor(t) and t.dtype.inexact]
    for k, x in enumerate(variables):
        numerical = _numerical(func, inputs, x, eps)
        analytical = _analytical(func, inputs, x)
        for j, (n, a, out) in enumerate(zip(numerical, analytical, outs, strict=True)):
            expected = _as_real(n, x.is_complex(), out.is_complex())
            actual = _gradients_as_real(a, x.is_complex())
            if not np.allclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True):
                worst = np.nanmax(np.abs(actual - expected))
                raise GradcheckError(
                    f"Jacobian mismatch for output {j} with respect to input {k}: largest "
                    f"difference {worst:.3g}\nnumerical:{expected}\nanalytical:{actual}"
                )


def gradgradcheck(
    func: Callable,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Check the gradients of the gradients of `func` against central differences."""
    inputs = _tuple(inputs)
    outs = [t for t in _tuple(func(*inputs)) if _is_tensor(t) and t.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        seeds = [_random_like(t, rng) for t in outs]
    else:
        seeds = list(_tuple(grad_outputs))
    count = len(inputs)

    def first_order(*args: Any) -> tuple:
        outputs = [t for t in _tuple(func(*args[:count])) if _is_tensor(t) and t.requires_grad]
        variables = _differentiable(args[:count])
        found = grad(outputs, variables, args[count:], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first_order, (*inputs, *seeds), eps=eps, atol=atol, rtol=rtol,
        raise_exception=raise_exception,
    )  # fmt: skip


def _random_like(t: Any, rng: np.random.Generator) -> Any:
    value = rng.standard_normal(tuple(t.shape))
    if t.is_complex():
        value = value + 1j * rng.standard_normal(tuple(t.shape))
    return t.detach().new_tensor(value.astype(t.dtype.np)).requires_grad_()
