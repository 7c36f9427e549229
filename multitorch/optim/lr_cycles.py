"""Schedulers with a memory of their own: cycles, warm restarts, and reduction on a plateau."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from math import cos, floor, inf, log, pi
from typing import Any

from multitorch.optim.lr_base import (
    EPOCH_DEPRECATION_WARNING,
    LR,
    LRScheduler,
    check_optimizer,
    set_in_group,
)
from multitorch.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR", "ReduceLROnPlateau"]


def _one_each(name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """Return one value for each group, from one value for all or a list."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has "
            f"{len(value)} values, param_groups has {groups}."
        )
    return list(value)


def _uses_beta1(optimizer: Optimizer) -> bool:
    """Whether the optimizer's momentum is the first of its betas; raise if it has none."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
        )
    return "betas" in optimizer.defaults


def _set_momentum(group: dict[str, Any], use_beta1: bool, momentum: float) -> None:
    if use_beta1:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


class OneCycleLR(LRScheduler):
    """Raise the rate to `max_lr`, then lower it far below where it began, in one cycle.

    The cycle has `total_steps` steps, or `epochs · steps_per_epoch`; `pct_start` of them go up.
    It begins at `max_lr / div_factor` and ends `final_div_factor` below that. Momentum moves the
    opposite way. `step` is to be called after every batch.

    >>> p = multitorch.zeros(1, requires_grad=True)
    >>> optimizer = multitorch.optim.SGD([p], lr=0.1, momentum=0.9)
    >>> scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> round(scheduler.get_last_lr()[0], 6)
    0.04
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._schedule_phases = self._phases(pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        self.cycle_momentum = cycle_momentum
        highest = _one_each("max_lr", max_lr, optimizer)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, highest, strict=True):
                group["initial_lr"] = lr / div_factor
                group["max_lr"] = lr
                group["min_lr"] = group["initial_lr"] / final_div_factor
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            if last_epoch == -1:
                self._set_momenta(base_momentum, max_momentum)
        super().__init__(optimizer, last_epoch)

    def _set_momenta(self, lowest: Any, highest: Any) -> None:
        lows = _one_each("base_momentum", lowest, self.optimizer)
        highs = _one_each("max_momentum", highest, self.optimizer)
        for group, low, high in zip(self.optimizer.param_groups, lows, highs, strict=True):
            _set_momentum(group, self.use_beta1, high)
            group["max_momentum"] = high
            group["base_momentum"] = low

    def _phases(self, pct_start: float, three_phase: bool) -> list[dict[str, Any]]:
        up = float(pct_start * self.total_steps)
        last = self.total_steps - 1
        if three_phase:
            return [
                _phase(up - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
                _phase(2 * up - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                _phase(last, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        return [
            _phase(up - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
            _phase(last, "max_lr", "min_lr", "base_momentum", "max_momentum"),
        ]

    def _anneal(self, start: LR, end: LR, share: float) -> LR:
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (1 + cos(pi * share))
        return (end - start) * share + start

    def get_lr(self) -> list[LR]:
        """Return the rates of this step, and set its momentum."""
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        begin: float = 0.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if step <= end or phase is self._schedule_phases[-1]:
                break
            begin = end
        share = (step - begin) / (end - begin)
        return [self._group_lr(group, phase, share) for group in self.optimizer.param_groups]

    def _group_lr(self, group: dict[str, Any], phase: dict[str, Any], share: float) -> LR:
        if self.cycle_momentum:
            low, high = group[phase["start_momentum"]], group[phase["end_momentum"]]
            _set_momentum(group, self.use_beta1, self._anneal(low, high, share))
        return self._anneal(group[phase["start_lr"]], group[phase["end_lr"]], share)


def _total_steps(total: int | None, epochs: int | None, per_epoch: int | None) -> int:
    if total is not None:
        return _positive("total_steps", total)
    if epochs is None or per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    return _positive("epochs", epochs) * _positive("steps_per_epoch", per_epoch)


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"Expected positive integer {name}, but got {value}")
    return value


def _phase(end: float, *keys: str) -> dict[str, Any]:
    names = ("start_lr", "end_lr", "start_momentum", "end_momentum")
    return {"end_step": end, **dict(zip(names, keys, strict=True))}


def _triangular(cycle: float) -> float:
    return 1.0


def _triangular2(cycle: float) -> float:
    return 1 / 2.0 ** (cycle - 1)


class CyclicLR(LRScheduler):
    """Move the rate between `base_lr` and `max_lr`, up and down, batch after batch.

    `mode` shapes the height of the cycles: "triangular" (constant), "triangular2" (halved each
    time), "exp_range" (`gamma ** iteration`); or `scale_fn` does, of the cycle's or the
    iteration's number according to `scale_mode`. Momentum moves the opposite way.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        lowest = _one_each("base_lr", base_lr, optimizer)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, lowest, strict=True):
                set_in_group(group, "lr", lr)
        self.max_lrs = _one_each("max_lr", max_lr, optimizer)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            self.base_momentums = _one_each("base_momentum", base_momentum, optimizer)
            self.max_momentums = _one_each("max_momentum", max_momentum, optimizer)
            if last_epoch == -1:
                self._start_momenta()
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lowest

    def _start_momenta(self) -> None:
        momenta = zip(
            self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
        )
        for group, low, high in momenta:
            _set_momentum(group, self.use_beta1, high)
            group["max_momentum"] = high
            group["base_momentum"] = low

    def scale_fn(self, x: float) -> float:
        """Return the height of cycle (or iteration) `x`, as a share of the whole."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "exp_range":
            return self.gamma**x
        return _triangular(x) if self.mode == "triangular" else _triangular2(x)

    def get_lr(self) -> list[LR]:
        """Return the rates of this iteration, and set its momentum."""
        self._warn_outside_step()
        cycle = floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        share *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            momenta = zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            )
            for group, low, high in momenta:
                _set_momentum(group, self.use_beta1, high - (high - low) * share)
        return [
            low + (high - low) * share
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return the state; of a custom `scale_fn` only the attributes of an object are kept."""
        state = super().state_dict()
        fn = state.pop("_scale_fn_custom")
        keep = fn is not None and not isinstance(fn, types.FunctionType)
        state["_scale_fn_custom"] = fn.__dict__.copy() if keep else None
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`; a custom `scale_fn` stays and gets its attributes back."""
        attributes = state_dict.get("_scale_fn_custom")
        rest = {key: value for key, value in state_dict.items() if key != "_scale_fn_custom"}
        super().load_state_dict(rest)
        if attributes is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(attributes)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Fall along a cosine from the initial rate to `eta_min`, and start again.

    The first fall takes `T_0` epochs, each further one `T_mult` times as many. `step(epoch)` takes
    fractions of an epoch, so it can be called after every batch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, float | int):
            raise ValueError(
                f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}"
            )
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[LR]:
        """Return the rates at `T_cur` of the `T_i` epochs of this fall."""
        self._warn_outside_step()
        share = (1 + cos(pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (lr - self.eta_min) * share for lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:  # type: ignore[override]
        """Go to the next epoch, or to `epoch`, which may be a fraction."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        else:
            self._find_fall(epoch)
        self._update_lr(floor(epoch))

    def _find_fall(self, epoch: float) -> None:
        if epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            n = int(log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_i = self.T_0 * self.T_mult**n
            self.T_cur = epoch - self.T_0 * (self.T_mult**n - 1) / (self.T_mult - 1)


class ReduceLROnPlateau(LRScheduler):
    """`lr ← factor · lr` when `patience` epochs have passed without a better metric.

    Better is lower in `mode` "min", higher in "max", by more than `threshold`, a share of the best
    ("rel") or a difference ("abs"). After a cut, `cooldown` epochs are not counted.

    >>> p = multitorch.zeros(1, requires_grad=True)
    >>> optimizer = multitorch.optim.SGD([p], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in [3.0, 3.0, 3.0]:
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        check_optimizer(optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        self.factor = factor
        self.optimizer = optimizer
        self.default_min_lr = None if isinstance(min_lr, list | tuple) else min_lr
        self.min_lrs = self._floors(min_lr)
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._remember()
        self.mode_worse = inf if mode == "min" else -inf
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self._reset()

    def _floors(self, min_lr: Any) -> list[float]:
        groups = len(self.optimizer.param_groups)
        if not isinstance(min_lr, list | tuple):
            return [min_lr] * groups
        if len(min_lr) != groups:
            raise ValueError(f"expected {groups} min_lrs, got {len(min_lr)}")
        return list(min_lr)

    def _reset(self) -> None:
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Note the metric of an epoch (a number, or a tensor of one), and cut if it is time."""
        current = float(metrics)
        if epoch is None:
            epoch = self.last_epoch + 1
        else:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self.last_epoch = epoch
        if self.is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr(epoch)
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._remember()

    def _reduce_lr(self, epoch: int) -> None:
        self._add_floors()
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, float(low))
            if old - new > self.eps:
                set_in_group(group, "lr", new)

    def _add_floors(self) -> None:
        """Give groups that came after the scheduler their floor too."""
        groups, known = len(self.optimizer.param_groups), len(self.min_lrs)
        if groups == known:
            return
        if self.default_min_lr is None:
            raise RuntimeError(
                f"The number of param groups in the `optimizer` ({groups}) differs from when "
                f"`ReduceLROnPlateau` was initialized ({known}), usually due to a new param group "
                "being added to the optimizer. Please modify the `min_lrs` field to match the "
                "length of the `optimizer` param groups."
            )
        self.min_lrs += [self.default_min_lr] * (groups - known)

    @property
    def in_cooldown(self) -> bool:
        """Whether the epochs after a cut are still not counted."""
        return self.cooldown_counter > 0

    def is_better(self, a: float, best: float) -> bool:
        """Whether metric `a` is better than `best` by more than the threshold."""
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            margin = best * (1.0 + sign * self.threshold)
        else:
            margin = best + sign * self.threshold
        return a < margin if self.mode == "min" else a > margin
