"""The base class of all learning-rate schedulers."""

from __future__ import annotations

import warnings
from typing import Any

from multitorch.optim.optimizer import Optimizer
from multitorch.tensor import Tensor

LR = Any
"""A learning rate: a float, or a tensor of one element, which is then updated in place."""

_SEE = "See more details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"

EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
    "possible. Please use `scheduler.step()` to step the scheduler. During the deprecation, if "
    "epoch is different from None, the closed form is used instead of the new chainable form, "
    "where available. Please open an issue if you are unable to replicate your use case: "
    "https://github.com/pytorch/pytorch/issues/new/choose."
)


def copied(value: Any) -> Any:
    """Return a value that later updates of the optimizer do not reach."""
    return value.clone() if isinstance(value, Tensor) else value


def set_in_group(group: dict[str, Any], key: str, value: Any) -> None:
    """Set a hyperparameter; one that is a tensor stays the same tensor, as others may hold it."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def check_optimizer(optimizer: object) -> None:
    """Refuse anything that is not an `Optimizer`."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


class LRScheduler:
    """Set the learning rates of an optimizer's groups, once for each call of `step`.

    A subclass defines `get_lr`, which returns the rates for `self.last_epoch`, and may define
    `_get_closed_form_lr`, used when `step` is given an epoch.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    f"scheduler with last_epoch >= 0.\nLoad the optimizer's state before the "
                    "scheduler is made, or start a new run with last_epoch=-1."
                )
        self.base_lrs: list[LR] = [copied(g["initial_lr"]) for g in optimizer.param_groups]
        self.last_epoch = last_epoch
        _watch_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of a `state_dict`; the optimizer stays."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[LR]:
        """Return the rates that the last `step` set, one for each group."""
        return self._last_lr

    def get_lr(self) -> list[LR]:
        """Return the rates for `self.last_epoch`, one for each group."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch (or to `epoch`) and set its rates."""
        if self._step_count == 1:
            self._warn_about_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _warn_about_order(self) -> None:
        if _step_was_replaced(self.optimizer):
            warnings.warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
                "initialization. Please, make sure to call `optimizer.step()` before "
                f"`lr_scheduler.step()`. {_SEE}",
                UserWarning,
                stacklevel=3,
            )
        elif not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch "
                "1.1.0 and later, you should call them in the opposite order: `optimizer.step()` "
                "before `lr_scheduler.step()`.  Failure to do this will result in PyTorch "
                f"skipping the first value of the learning rate schedule. {_SEE}",
                UserWarning,
                stacklevel=3,
            )

    _get_lr_called_within_step = False

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                values = getattr(self, "_get_closed_form_lr", self.get_lr)()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=False):
            set_in_group(group, "lr", lr)
        self._remember()

    def _remember(self) -> None:
        self._last_lr: list[LR] = [copied(group["lr"]) for group in self.optimizer.param_groups]

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _scaled(self, factor: float) -> list[LR]:
        """Return the present rates times a factor."""
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        return [copied(lr) if factor == 1 else lr * factor for lr in lrs]


def _watch_steps(optimizer: Optimizer) -> None:
    """Begin to note, once for each optimizer, whether `step` is called and stays the same."""
    if "_step_when_scheduled" not in optimizer.__dict__:
        optimizer._opt_called = False
        optimizer._step_when_scheduled = _step_function(optimizer)  # type: ignore[attr-defined]


def _step_function(optimizer: Optimizer) -> Any:
    return getattr(optimizer.step, "__func__", optimizer.step)


def _step_was_replaced(optimizer: Optimizer) -> bool:
    before = optimizer.__dict__.get("_step_when_scheduled")
    return before is not None and before is not _step_function(optimizer)
