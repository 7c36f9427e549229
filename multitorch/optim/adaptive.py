"""Adagrad, Adadelta and RMSprop: steps divided by the root of the gradient's squares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from multitorch.dtypes import float32
from multitorch.ops.optim import (
    adadelta_step,
    adagrad_step,
    rmsprop_centered_momentum_step,
    rmsprop_centered_step,
    rmsprop_momentum_step,
    rmsprop_step,
)
from multitorch.optim.fused import FusedOptimizer, check_not_negative
from multitorch.optim.state import new_state
from multitorch.tensor import Tensor

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(FusedOptimizer):
    """Steps over the root of the sum of squares: `s ← s + g²`, `p ← p - lrₜ·g / (√s + eps)`.

    `lrₜ = lr / (1 + (t-1)·lr_decay)`; the sums start at `initial_accumulator_value`.
    """

    _flags = {"maximize": False, "foreach": None, "differentiable": False, "fused": None}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_not_negative(
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        defaults = dict(
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
        )
        self._prepare(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                self._start(self.state[p], p, group)

    def share_memory(self) -> None:
        """Do nothing: within one process the memory is shared already."""

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "sum", "step"

    def _start(self, state: dict[str, Any], p: Tensor, group: dict[str, Any]) -> None:
        value = group["initial_accumulator_value"]
        value = complex(value, value) if p.is_complex() else value
        state["step"] = new_state(p, (), dtype=float32)
        state["sum"] = new_state(p, value=value)

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        adagrad_step(
            rows,
            group["lr"],
            group["lr_decay"],
            group["eps"],
            group["weight_decay"],
            maximize=group["maximize"],
        )


class Adadelta(FusedOptimizer):
    """Steps of the size of earlier ones: `d = √(c + eps) / √(s + eps)·g`, `p ← p - lr·d`.

    s and c are the running means of g² and of d², of rate `1 - rho`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative(eps=eps, weight_decay=weight_decay)
        defaults = dict(
            lr=lr,
            rho=rho,
            eps=eps,
            weight_decay=weight_decay,
            maximize=maximize,
            capturable=capturable,
            foreach=foreach,
            differentiable=differentiable,
        )
        self._prepare(params, defaults)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "square_avg", "acc_delta", "step"

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        hyper = (group["lr"], 1 - group["rho"], group["eps"], group["weight_decay"])
        adadelta_step(rows, *hyper, maximize=group["maximize"])


_RMS_STEPS: dict[tuple[bool, bool], Callable[..., None]] = {
    (False, False): rmsprop_step,
    (False, True): rmsprop_momentum_step,
    (True, False): rmsprop_centered_step,
    (True, True): rmsprop_centered_momentum_step,
}


class RMSprop(FusedOptimizer):
    """Steps over the root of the mean square: `s ← αs + (1-α)g²`, `p ← p - lr·g / (√s + eps)`.

    With `centered` the mean is taken off: the root is that of the variance. With `momentum` the
    quotients are added up in a buffer, which is what the parameter follows.
    """

    _flags = {"momentum": 0, "centered": False, **FusedOptimizer._flags}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_not_negative(eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = dict(
            lr=lr,
            momentum=momentum,
            alpha=alpha,
            eps=eps,
            centered=centered,
            weight_decay=weight_decay,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
        )
        self._prepare(params, defaults)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        mean = ("grad_avg",) if group["centered"] else ()
        buffer = ("momentum_buffer",) if group["momentum"] > 0 else ()
        return ("square_avg", *mean, *buffer, "step")

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        update = _RMS_STEPS[bool(group["centered"]), group["momentum"] > 0]
        update(
            rows,
            group["lr"],
            1 - group["alpha"],
            group["eps"],
            group["weight_decay"],
            group["momentum"],
            maximize=group["maximize"],
        )
