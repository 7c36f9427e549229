"""Seeds, generators and their states; the draws themselves are in `multitorch.ops.random`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from multitorch.device import device
from multitorch.random.generator import (
    Generator,
    Snapshot,
    default_generator,
    known_devices,
    seed_devices,
    use_cpu_stream,
)

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
    "thread_safe_generator",
    "use_cpu_stream",
]


def manual_seed(seed: Any) -> Generator:
    """Seed the default generators of all devices; return the one of cpu.

    >>> manual_seed(0).initial_seed()
    0
    """
    seed = int(seed)
    default_generator.manual_seed(seed)
    seed_devices(seed)
    return default_generator


def seed() -> int:
    """Seed the default generators of all devices from the operating system; return the seed."""
    found = default_generator.seed()
    seed_devices(found)
    return found


def initial_seed() -> int:
    """Return the seed of cpu's default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """Return the state of cpu's default generator as a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Set the state of cpu's default generator."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Sequence[Any] | None = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:
    """Restore the default generators on leaving: cpu's, and those of `devices` (default: all).

    An integer names a device of `device_type`, or of the accelerator present.
    """
    if not enabled:
        yield
        return
    before = Snapshot(_forked_devices(devices, device_type))
    try:
        yield
    finally:
        before.restore(every=devices is None)


def _forked_devices(devices: Sequence[Any] | None, device_type: str | None) -> list[device]:
    if devices is None:
        return [d for d in known_devices() if device_type is None or d.type == device_type]
    named = [
        device(device_type, d) if device_type and isinstance(d, int) else device(d) for d in devices
    ]
    return [d.canonical() for d in named if d.type != "cpu"]


def thread_safe_generator() -> Generator | None:
    """Return the generator of the data loader's worker thread; None elsewhere."""
    return None
