"""Averages of a model's weights: stochastic weight averaging and exponential moving averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

from multitorch import dtypes
from multitorch.autograd import no_grad
from multitorch.nn.module import Module
from multitorch.nn.normalization import _BatchNorm
from multitorch.ops.creation import tensor
from multitorch.optim.lr_scheduler import LRScheduler
from multitorch.optim.optimizer import Optimizer
from multitorch.tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Any]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1].")


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return the function of one parameter of an exponential moving average."""
    _check_decay(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """Return the function of all parameters of an exponential moving average."""
    _check_decay(decay)

    def ema_update(ema: list[Tensor], current: list[Tensor], _: Any) -> None:
        with no_grad():
            for average, p in zip(ema, current, strict=True):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(p.to(average.dtype), 1 - decay)
                else:
                    average.copy_(average * decay + p * (1 - decay))

    return ema_update


def get_swa_avg_fn() -> Average:
    """Return the function of one parameter of an equal average."""

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_swa_multi_avg_fn() -> MultiAverage:
    """Return the function of all parameters of an equal average."""
    one = get_swa_avg_fn()

    def swa_update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        with no_grad():
            for average, p in zip(averaged, current, strict=True):
                average.copy_(one(average, p.to(average.dtype), num_averaged))

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose weights are an average of those that the model has gone through.

    >>> import multitorch as torch
    >>> model = torch.nn.Linear(1, 1)
    >>> averaged = torch.optim.swa_utils.AveragedModel(model)
    >>> averaged.update_parameters(model)
    >>> averaged.n_averaged
    tensor(1)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        count = tensor(0, dtype=dtypes.int64, device=device)
        self.register_buffer("n_averaged", count)
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _averaged(self, module: Module) -> Iterator[Tensor]:
        yield from module.parameters()
        if self.use_buffers:
            yield from module.buffers()

    def update_parameters(self, model: Module) -> None:
        """Take the model's present weights into the average."""
        mine = [t.detach() for t in self._averaged(self.module)]
        theirs = [t.detach().to(a.device) for t, a in zip(self._averaged(model), mine, strict=True)]
        with no_grad():
            if int(self.n_averaged) == 0:
                for average, p in zip(mine, theirs, strict=True):
                    average.copy_(p)
            else:
                self._average(mine, theirs)
            if not self.use_buffers:
                for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
                    a.detach().copy_(b.detach().to(a.device))
            self.n_averaged.add_(1)

    def _average(self, mine: list[Tensor], theirs: list[Tensor]) -> None:
        if self.avg_fn is None:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            update(mine, theirs, self.n_averaged)
            return
        for average, p in zip(mine, theirs, strict=True):
            average.copy_(self.avg_fn(average, p, self.n_averaged.to(average.device)))


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the batch norms' running statistics anew, from the batches of a loader."""
    norms = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not norms:
        return
    was_training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    with no_grad():
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x if device is None else x.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Anneal each group's learning rate to `swa_lr` over some epochs, then keep it.

    `anneal_strategy` is "cos" or "linear".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        groups = optimizer.param_groups
        rates = list(swa_lr) if isinstance(swa_lr, (list, tuple)) else [swa_lr] * len(groups)
        if len(rates) != len(groups):
            raise ValueError(
                "swa_lr must have the same length as optimizer.param_groups: swa_lr has "
                f"{len(rates)}, optimizer.param_groups has {len(groups)}"
            )
        for rate, group in zip(rates, groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch: int) -> float:
        """Return how far the annealing has come at an epoch, from 0 to 1."""
        t = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs)))
        return t if self._strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Any]:
        """Return the rates of the next epoch."""
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            goal, lr = group["swa_lr"], group["lr"]
            # from the present rate back to the first one, and on to the next
            first = goal if before == 1 else (lr - before * goal) / (1 - before)
            rates.append(goal * now + first * (1 - now))
        return rates
