"""What the optimizers share whose step is one fused op for each parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch.dtypes import float32
from multitorch.ops.views import view_as_real
from multitorch.optim.optimizer import Optimizer, check_flags, check_lr
from multitorch.optim.state import new_state
from multitorch.tensor import Tensor

__all__ = ["FusedOptimizer", "check_betas", "check_not_negative"]


def check_not_negative(**values: float) -> None:
    """Refuse negative hyperparameters; the names are those of PyTorch's messages."""
    for name, value in values.items():
        if not 0.0 <= value:
            what = "epsilon" if name == "eps" else name
            raise ValueError(f"Invalid {what} value: {value}")


def check_betas(betas: tuple[float, float]) -> None:
    """Refuse decay rates outside [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


class FusedOptimizer(Optimizer):
    """An optimizer that says how a parameter's state starts and which op steps a group."""

    _flags: dict[str, Any] = {
        "maximize": False, "foreach": None, "capturable": False, "differentiable": False,
    }  # fmt: skip

    def _prepare(self, params: Any, defaults: dict[str, Any]) -> None:
        """Check what all of them have, and set up the groups."""
        check_lr(defaults["lr"])
        check_flags(
            defaults.get("foreach"), defaults.get("fused"), defaults.get("differentiable", False)
        )
        Optimizer.__init__(self, params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self._flags.items():
                group.setdefault(name, value)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Return the names of the state's tensors in the order of the op's arguments."""
        raise NotImplementedError

    def _start(self, state: dict[str, Any], p: Tensor, group: dict[str, Any]) -> None:
        """Fill in the state of a parameter that has not been stepped."""
        # The count stays on the parameter's device, so that a step never waits for it.
        state["step"] = new_state(p, (), dtype=float32)
        for name in self._names(group):
            if name not in state:
                state[name] = new_state(p)

    def _update(self, rows: list[tuple[Any, ...]], group: dict[str, Any]) -> None:
        """Step the rows (parameter, gradient, state …) of one group."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step down the gradients; return `closure()`'s loss if a closure is given."""
        loss = self._loss(closure)
        for group in self.param_groups:
            rows = [self._row(p, group) for p in group["params"] if p.grad is not None]
            if rows:
                self._update(rows, group)
        return loss

    def _row(self, p: Tensor, group: dict[str, Any]) -> tuple[Any, ...]:
        state = self.state[p]
        if not state:
            self._start(state, p, group)
        row: tuple[Any, ...] = (p, p.grad, *[state[name] for name in self._names(group)])
        if not p.is_complex():
            return row
        # real and imaginary parts are numbers of their own
        return tuple(view_as_real(t.detach()) if t.is_complex() else t for t in row)
