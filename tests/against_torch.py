"""Compare a function of tensors with PyTorch: value, gradient, and gradient of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import multitorch


def flat(results: Any) -> list:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def tensors(lib: Any, arrays: tuple, device: str) -> list:
    """Make leaves: floating ones require grad; what is not an array stays as it is."""
    made = []
    for a in arrays:
        if not isinstance(a, np.ndarray):
            made.append(a)
            continue
        t = lib.tensor(a.copy(), device=device)
        made.append(t.requires_grad_() if a.dtype.kind in "fc" else t)
    return made


def derivatives(lib: Any, function: Callable, arrays: tuple, device: str, order: int) -> list:
    """Return outputs, gradients and second gradients, with fixed cotangents."""
    leaves = tensors(lib, arrays, device)
    outputs = flat(function(lib, *leaves))
    found = [outputs]
    wanted = [t for t in leaves if isinstance(t, lib.Tensor) and t.requires_grad]
    rng = np.random.default_rng(7)
    targets = [t for t in outputs if t.requires_grad]
    for level in range(order):
        targets = [t for t in targets if t is not None and t.requires_grad]
        if not targets or not wanted:
            break
        weights = [
            lib.tensor(_noise(rng, tuple(t.shape), t), device=device).requires_grad_()
            for t in targets
        ]
        grads = lib.autograd.grad(
            targets, wanted, weights, create_graph=level + 1 < order, allow_unused=True
        )
        found.append(list(grads))
        targets, wanted = [g for g in grads if g is not None], wanted + weights
    return found


def _noise(rng: np.random.Generator, shape: tuple[int, ...], like: Any) -> np.ndarray:
    noise = rng.standard_normal(shape)
    if like.is_complex():
        noise = noise + 1j * rng.standard_normal(shape)
    return noise.astype(str(like.dtype).removeprefix("torch."))


def compare(
    oracle: Any, device: str, function: Callable, *arrays: Any, order: int = 2, tol: float = 1e-9
) -> None:
    """Assert that `function(library, *tensors)` agrees with PyTorch up to derivatives of an order.

    On other devices than the cpu the first order suffices: the rules are the same.
    """
    order = order if device == "cpu" else min(order, 1)
    ours = derivatives(multitorch, function, arrays, device, order)
    theirs = derivatives(oracle, function, arrays, "cpu", order)
    for level, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert len(found) == len(expected)
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            where = f"derivative of order {level}, number {i}"
            if a is None or b is None:
                rest = a if b is None else b
                assert rest is None or not np.any(rest.detach().cpu().numpy()), where
                continue
            assert tuple(a.shape) == tuple(b.shape), where
            assert str(a.dtype) == str(b.dtype), where
            np.testing.assert_allclose(
                a.detach().cpu().numpy(force=True), b.detach().numpy(force=True),
                rtol=tol, atol=tol, err_msg=where,
            )  # fmt: skip
