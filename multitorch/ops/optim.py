"""The optimizers' steps: one fused op for each parameter, whose results are written in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch.autograd.modes import no_grad
from multitorch.autograd.tape import log_write
from multitorch.ops import apply as dispatch
from multitorch.ops.inplace import commit
from multitorch.ops.op import op


def _in_place(name: str, args: str, changed: str) -> Callable[..., None]:
    """Declare a step and return the function that stores its results into the changed arguments."""
    apply = op(name, args, outs=" ".join(a + "_new" for a in changed.split())).nondiff()
    kernels = apply.op.kernels  # type: ignore[attr-defined]
    places = tuple(args.split().index(a) for a in changed.split())

    def step(*tensors: Any, **flags: Any) -> None:
        dev = tensors[0]._dev
        raws = [getattr(t, "_a", t) for t in tensors]
        alike = all(getattr(t, "_dev", dev) is dev for t in tensors)
        if dispatch.capturing or not alike:
            _step_anywhere(apply, places, tensors, flags)
            return
        with dev.backend.quiet():
            results = kernels[dev](*raws, **flags)
        for i, raw in zip(places, results, strict=True):
            _store(tensors[i], raw)

    step.__name__ = step.__qualname__ = name
    return step


def _step_anywhere(apply: Callable, places: tuple[int, ...], tensors: tuple, flags: dict) -> None:
    results = apply(*tensors, **flags)
    with no_grad():
        for i, result in zip(places, results, strict=True):
            commit(tensors[i], result)


def _store(t: Any, raw: Any) -> None:
    """Give a tensor its new value; its history, a leaf's, stays as it is."""
    backend = t._dev.backend
    if backend.mutable:
        # A backend's own kernel may have updated the array itself.
        if raw is not t._a:
            backend.write(t._a, raw)
        log_write(backend.buffer(t._a))
    elif t._view is None and t._views is None:
        log_write(t._a)
        t._a = raw
    else:
        with no_grad():
            commit(t, dispatch.wrap(raw, t._dev))


sgd_step = _in_place("sgd_step", "p g lr weight_decay", "p")
sgd_momentum_step = _in_place("sgd_momentum_step", "p g buf lr momentum rate weight_decay", "p buf")
adam_step = _in_place("adam_step", "p g m v step lr rate1 rate2 eps weight_decay", "p m v step")
amsgrad_step = _in_place(
    "amsgrad_step", "p g m v vmax step lr rate1 rate2 eps weight_decay", "p m v vmax step"
)
