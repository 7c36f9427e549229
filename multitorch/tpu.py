"""`multitorch.tpu`: what a program would cost on a TPU, found out without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from multitorch.backend import registry
from multitorch.graph.estimate import Estimate, make
from multitorch.graph.inspect import record
from multitorch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

__all__ = ["Estimate", "estimate"]


def estimate(
    step: Callable,
    args: Any = (),
    topology: str = "v5e:1x1",
    *,
    kwargs: dict[str, Any] | None = None,
) -> Estimate:
    """Compile a step for a TPU that need not be there, and return what it would cost.

    `step(*args, **kwargs)` is recorded as `compile` records it, and nothing is computed: models
    and arguments can be on any device, "meta" too, where they take no memory. Its program is
    compiled by the TPU compiler (`pip install 'multitorch[tpu]'`, on Linux x86-64) for one chip of
    `topology`: "v5e", "v5p" or "v6e" and the chips along each dimension. A program that does not
    fit has `fits == False`; no exception is raised.

        report = multitorch.tpu.estimate(train_step, (images, labels), "v5e:2x2")
        print(report)
        assert report.peak_bytes < 12 * 2**30
    """
    if hasattr(args, "_dev") or not isinstance(args, (tuple, list)):
        args = (args,)
    with _optimizers_keep_their_state():
        recorded = record(step, tuple(args), kwargs)
    if not recorded.graph.outputs:
        place, why = recorded.stopped or (None, "the function computes nothing that outlives it")
        raise ValueError(
            f"there is nothing to compile: {why}{f' ({place})' if place else ''}. Remedy: return "
            "the function's result, or let it update a tensor"
        )
    account = registry.backend("tpu").compile_ahead(
        recorded.graph,
        topology=topology,
        shapes=recorded.shapes,
        donated=recorded.donated,
    )
    return make(account, recorded, topology)


@contextmanager
def _optimizers_keep_their_state() -> Iterator[None]:
    kept: dict[int, tuple[Optimizer, dict]] = {}

    def keep(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if id(optimizer) not in kept:
            states = {p: dict(s) for p, s in optimizer.state.items()}
            kept[id(optimizer)] = optimizer, states

    handle = register_optimizer_step_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()
        for optimizer, states in kept.values():
            optimizer.state.clear()
            optimizer.state.update(states)
