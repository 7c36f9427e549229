"""Interleaved timing: rivals take turns, so that a noisy moment hits them all alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping

Call = Callable[[], object]
Clock = Callable[[], float]


def time_batch(call: Call, repeats: int, clock: Clock = time.perf_counter) -> float:
    """Return the mean seconds of one call over a batch."""
    began = clock()
    for _ in range(repeats):
        call()
    return (clock() - began) / repeats


def choose_repeats(call: Call, batch_seconds: float, clock: Clock = time.perf_counter) -> int:
    """Return how many calls fill a batch, after warming up."""
    for _ in range(3):
        call()
    once = min(time_batch(call, 1, clock) for _ in range(5))
    return max(1, math.ceil(batch_seconds / max(once, 1e-7)))


def race(
    calls: Mapping[str, Call], rounds: int = 15, batch_seconds: float = 2e-3
) -> dict[str, float]:
    """Return the median microseconds of one call for each rival."""
    repeats = {name: choose_repeats(call, batch_seconds) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            samples[name].append(time_batch(call, repeats[name]))
    return {name: statistics.median(times) * 1e6 for name, times in samples.items()}
