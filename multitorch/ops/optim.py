"""The optimizers' steps: one fused op for each parameter, whose results are written in place.

A step is called as `step(rows, *hyperparameters, **flags)`. A row holds one parameter's tensors, in
the order of the op's arguments; the hyperparameters, which follow them, are the same for all rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from multitorch.autograd.modes import no_grad
from multitorch.autograd.tape import log_write, user_place
from multitorch.ops import apply as dispatch
from multitorch.ops.inplace import commit
from multitorch.ops.op import Op

Row = Sequence[Any]


class Step:
    """An op that takes tensors and hyperparameters, and replaces some of the tensors."""

    def __init__(self, name: str, tensors: str, hyper: str, changed: str) -> None:
        names = tensors.split()
        self.places = tuple(names.index(a) for a in changed.split())
        outs = " ".join(f"{a}_new" for a in changed.split())
        self._decay = hyper.split().index("weight_decay") if "weight_decay" in hyper else None
        self.op = Op(name, f"{tensors} {hyper}", outs=outs, shape=self._specs)
        self.apply = self.op.nondiff()

    def _specs(self, *arrays: Any, **flags: Any) -> tuple:
        specs = tuple([(arrays[i].shape, arrays[i].dtype) for i in self.places])
        return specs[0] if len(self.places) == 1 else specs

    def __call__(self, rows: list[Row], *hyper: Any, **flags: Any) -> None:
        hyper = self._without_idle_decay(hyper)
        if dispatch.capturing or not rows:
            self._apply_to(rows, hyper, flags)
            return
        dev = rows[0][0]._dev
        if not _all_on(dev, rows, hyper):
            self._apply_to(rows, hyper, flags)
            return
        values = [getattr(h, "_a", h) for h in hyper]
        kernel, places = self.op.kernels[dev], self.places
        here = user_place(sys._getframe(1))
        with dev.backend.quiet():
            for row in rows:
                results = kernel(*[t._a for t in row], *values, **flags)
                for i, raw in zip(places, _several(results), strict=True):
                    _store(row[i], raw, here)

    def _without_idle_decay(self, hyper: tuple) -> tuple:
        """Pass None for a weight decay of 0: the kernel then need not read the parameter for it."""
        i = self._decay
        if i is None or hyper[i].__class__ not in (int, float) or hyper[i]:
            return hyper
        return (*hyper[:i], None, *hyper[i + 1 :])

    def _apply_to(self, rows: list[Row], hyper: tuple, flags: dict[str, Any]) -> None:
        for row in rows:
            results = self.apply(*row, *hyper, **flags)
            with no_grad():
                for i, result in zip(self.places, _several(results), strict=True):
                    commit(row[i], result)


def _several(results: Any) -> tuple:
    return results if results.__class__ is tuple else (results,)


def _all_on(dev: Any, rows: list[Row], hyper: tuple) -> bool:
    for row in rows:
        for t in row:
            if t._dev is not dev:
                return False
    return all(getattr(h, "_dev", dev) is dev for h in hyper)


def _store(t: Any, raw: Any, here: Any) -> None:
    """Give a tensor its new value; its history, a leaf's, stays as it is."""
    backend = t._dev.backend
    if backend.mutable:
        # A backend's own kernel may have updated the array itself.
        if raw is not t._a:
            backend.write(t._a, raw)
        log_write(backend.buffer(t._a), here)
    elif t._view is None and t._views is None:
        log_write(t._a, here)
        t._a = raw
    else:
        with no_grad():
            commit(t, dispatch.wrap(raw, t._dev))


sgd_step: Callable[..., None] = Step("sgd_step", "p g", "lr weight_decay", "p")
sgd_momentum_step: Callable[..., None] = Step(
    "sgd_momentum_step", "p g buf", "lr momentum rate weight_decay", "p buf"
)
adam_step: Callable[..., None] = Step(
    "adam_step", "p g m v step", "lr rate1 rate2 eps weight_decay", "p m v step"
)
amsgrad_step: Callable[..., None] = Step(
    "amsgrad_step", "p g m v vmax step", "lr rate1 rate2 eps weight_decay", "p m v vmax step"
)
adamax_step: Callable[..., None] = Step(
    "adamax_step", "p g m u step", "lr rate1 beta2 eps weight_decay", "p m u step"
)
nadam_step: Callable[..., None] = Step(
    "nadam_step", "p g m v product step", "lr rate1 rate2 eps weight_decay decay",
    "p m v product step",
)  # fmt: skip
radam_step: Callable[..., None] = Step(
    "radam_step", "p g m v step", "lr rate1 rate2 eps weight_decay", "p m v step"
)
adagrad_step: Callable[..., None] = Step(
    "adagrad_step", "p g total step", "lr lr_decay eps weight_decay", "p total step"
)
adadelta_step: Callable[..., None] = Step(
    "adadelta_step", "p g square change step", "lr rate eps weight_decay", "p square change step"
)
_RMS = "lr rate eps weight_decay momentum"
rmsprop_step: Callable[..., None] = Step("rmsprop_step", "p g square step", _RMS, "p square step")
rmsprop_momentum_step: Callable[..., None] = Step(
    "rmsprop_momentum_step", "p g square buf step", _RMS, "p square buf step"
)
rmsprop_centered_step: Callable[..., None] = Step(
    "rmsprop_centered_step", "p g square mean step", _RMS, "p square mean step"
)
rmsprop_centered_momentum_step: Callable[..., None] = Step(
    "rmsprop_centered_momentum_step", "p g square mean buf step", _RMS, "p square mean buf step"
)
rprop_step: Callable[..., None] = Step(
    "rprop_step", "p g prev size step", "shrink grow low high", "p prev size step"
)
asgd_step: Callable[..., None] = Step(
    "asgd_step", "p g mean eta mu step", "lr lambd alpha t0 weight_decay", "p mean eta mu step"
)
