"""Microseconds of Python that a compiled call takes beside its program: recorded, and skipped.

    python -m benchmarks.recording [--json] [--rounds 15] [--programs tiny,mlp]

First the training steps of `models.py`, recorded anew at every call: what recording, looking the
program up and handing its results over take. Then steps of models that differ in nothing but their
number of parameters, whose recording is skipped. XLA's work is left out.
"""

from __future__ import annotations

import os

os.environ["MULTITORCH_CACHE"] = ""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import multitorch
from benchmarks.models import PROGRAMS, make_step
from benchmarks.timing import choose_repeats, time_batch

DEVICE = "jax"
SIZES = (4, 16, 64, 256)
"""How many parameters the models have whose steps are skipped."""
WARM = 6
"""After so many calls a recording is skipped."""


class Clock:
    """A clock that stands still while programs run."""

    def __init__(self) -> None:
        self.left_out = 0.0

    def __call__(self) -> float:
        return time.perf_counter() - self.left_out

    def leave_out(self, function: Callable) -> Callable:
        """Return a function whose time does not count."""

        def run(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args)
            finally:
                self.left_out += time.perf_counter() - began

        return run


clock = Clock()


def remembering(program: Callable) -> Callable:
    """Return a program that runs once, and returns the same results ever after."""
    results: list[Any] = []

    def run(values: Any, *_: Any) -> Any:
        if not results:
            results.append(program(values))
        return results[0]

    return run


def recorded(name: str) -> tuple[Callable, int]:
    """Return a training step that is recorded at every call, and how many kernels it calls."""
    program = PROGRAMS[name]
    model = program.build(multitorch).to(DEVICE)
    step = make_step(multitorch, model, program.optimizer(multitorch, model.parameters()))
    compiled: Any = multitorch.compile(step)
    compiled._patience = 0  # nothing is learned that would let a call be skipped
    batch = [multitorch.tensor(a, device=DEVICE) for a in program.batch()]
    for _ in range(3):
        compiled(*batch)
    programs = compiled._programs
    for key, program in programs.items():
        programs[key] = remembering(program)
    return lambda: compiled(*batch), len(compiled.graph.calls)


def skipped(parameters: int) -> Callable:
    """Return a training step with so many parameters whose recording is skipped."""
    weights = [multitorch.ones(4, device=DEVICE, requires_grad=True) for _ in range(parameters)]
    optimizer = multitorch.optim.SGD(weights, lr=0.1)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss: Any = sum((w * x).sum() for w in weights)
        loss.backward()
        optimizer.step()
        return loss.detach()

    compiled: Any = multitorch.compile(step)
    x = multitorch.ones(4, device=DEVICE)
    for _ in range(WARM):
        compiled(x)
    if not compiled.skipped:
        raise RuntimeError(f"nothing is skipped: {compiled.why_recorded}")
    for program in compiled._programs.values():
        program._jitted = clock.leave_out(program._jitted)
    return lambda: compiled(x)


def measure(calls: dict[Any, Callable], rounds: int) -> dict[Any, float]:
    """Return the median microseconds of this thread for each call; they take turns."""
    repeats = {key: choose_repeats(call, 20e-3, clock) for key, call in calls.items()}
    samples: dict[Any, list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            samples[key].append(time_batch(call, repeats[key], clock))
    return {key: statistics.median(times) * 1e6 for key, times in samples.items()}


def line(points: dict[int, float]) -> tuple[float, float]:
    """Return the intercept and the slope of a straight line through points."""
    slope, intercept = statistics.linear_regression(list(points), list(points.values()))
    return intercept, slope


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="which, comma separated")
    args = parser.parse_args()
    steps = {name: recorded(name) for name in args.programs.split(",")}
    times = measure({name: call for name, (call, _) in steps.items()}, args.rounds)
    skips = measure({n: skipped(n) for n in SIZES}, args.rounds)
    fixed, each = line(skips)
    if args.json:
        rows = {n: {"us": times[n], "kernels": kernels} for n, (_, kernels) in steps.items()}
        found = {"recorded": rows, "skipped": skips, "skipped, fit": [fixed, each]}
        print(json.dumps(found, indent=1))
        return
    print(f"{'recorded call':16}{'µs':>9}{'kernels':>9}{'µs each':>9}")
    for name, (_, kernels) in steps.items():
        print(f"{name:16}{times[name]:9.0f}{kernels:9}{times[name] / kernels:9.2f}")
    print(f"\n{'skipped call':16}{'µs':>9}")
    for n, us in skips.items():
        print(f"{f'{n} parameters':16}{us:9.1f}")
    print(f"about {fixed:.0f} µs and {each:.2f} µs for each parameter")


if __name__ == "__main__":
    main()
