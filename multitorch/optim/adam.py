"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from multitorch.dtypes import float32
from multitorch.ops.optim import adam_step, amsgrad_step
from multitorch.ops.views import view_as_real
from multitorch.optim.optimizer import Optimizer, check_flags, check_lr
from multitorch.optim.state import new_state
from multitorch.tensor import Tensor

__all__ = ["Adam", "AdamW"]

Betas = tuple[float | Tensor, float | Tensor]


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`,
    `p ← p - lr · (m / (1-β₁ᵗ)) / (√(v / (1-β₂ᵗ)) + eps)`.
    `weight_decay` adds `weight_decay·p` to the gradient, or, with `decoupled_weight_decay`, shrinks
    the parameter itself. `foreach`, `fused` and `capturable` are accepted and change nothing.

    >>> p = multitorch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = multitorch.optim.Adam([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p
    tensor([0.9000, 1.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        check_lr(lr)
        if not 0.0 <= eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        _check_betas(betas)
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor) and foreach and not capturable:
                raise ValueError(
                    f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
                )
        if not 0.0 <= weight_decay:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        check_flags(foreach, fused, differentiable)
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("amsgrad", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("capturable", False)
            group.setdefault("differentiable", False)
            group.setdefault("decoupled_weight_decay", False)
            group.setdefault("fused", None)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step down the gradients; return `closure()`'s loss if a closure is given."""
        loss = self._loss(closure)
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            hyper = (group["lr"], 1 - beta1, 1 - beta2, group["eps"], group["weight_decay"])
            rows = [self._row(p, group) for p in group["params"] if p.grad is not None]
            update = amsgrad_step if group["amsgrad"] else adam_step
            update(
                rows,
                *hyper,
                maximize=group["maximize"],
                decoupled=group["decoupled_weight_decay"],
            )
        return loss

    def _row(self, p: Tensor, group: dict[str, Any]) -> tuple[Any, ...]:
        state = self.state[p]
        if not state:
            _start(state, p, group["amsgrad"])
        m, v, step = state["exp_avg"], state["exp_avg_sq"], state["step"]
        moments = (m, v, state["max_exp_avg_sq"]) if group["amsgrad"] else (m, v)
        row = (p, p.grad, *moments, step)
        return _in_real_numbers(row) if p.is_complex() else row


class AdamW(Adam):
    """Adam with decoupled weight decay: `p ← (1 - lr·weight_decay)·p` before Adam's step.

    >>> p = multitorch.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = multitorch.optim.AdamW([p], lr=0.1, weight_decay=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p
    tensor([0.8500, 1.8000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


def _check_betas(betas: Betas) -> None:
    if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
        raise ValueError("betas must be either both floats or both Tensors")
    for i, beta in enumerate(betas):
        if isinstance(beta, Tensor):
            if beta.numel() != 1:
                raise ValueError(f"Tensor betas[{i}] must be 1-element")
        elif not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def _in_real_numbers(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return views in which real and imaginary parts are numbers of their own."""
    return tuple(view_as_real(t.detach()) if t.is_complex() else t for t in row)


def _start(state: dict[str, Any], p: Tensor, amsgrad: bool) -> None:
    """Fill in the state of a parameter that has not been stepped."""
    # The count stays on the parameter's device, so that a step never waits for it.
    state["step"] = new_state(p, (), dtype=float32)
    state["exp_avg"] = new_state(p)
    state["exp_avg_sq"] = new_state(p)
    if amsgrad:
        state["max_exp_avg_sq"] = new_state(p)
