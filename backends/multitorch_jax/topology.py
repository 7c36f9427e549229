"""TPUs that need not be there: libtpu describes a topology, and compiles for its chips."""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import platform
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple


class Generation(NamedTuple):
    """What is to be known of one kind of chip."""

    accelerator: str
    """The prefix of `TPU_ACCELERATOR_TYPE`."""
    dims: int
    capacity: int
    """Bytes that the compiler lets a program have: its refusals of larger ones name them."""
    bandwidth: float
    """Bytes of HBM a second."""
    clock: float
    """Cycles a second: the compiler's cycles for large programs over its seconds for them."""


_GIB = 1 << 30
GENERATIONS = {
    "v5e": Generation("v5litepod", 2, int(15.75 * _GIB), 819e9, 1.67e9),
    "v5p": Generation("v5p", 3, int(95.74 * _GIB), 2765e9, 1.85e9),
    "v6e": Generation("v6e", 2, int(31.25 * _GIB), 1640e9, 2.3e9),
}
_HOST = (2, 2, 1)
"""The most chips that one host has, along each dimension."""


class Chip(NamedTuple):
    """One chip of a topology."""

    device: Any
    count: int
    """How many chips the topology has."""
    generation: Generation


def split(topology: str) -> tuple[str, tuple[int, ...]]:
    """Return the generation and the shape of a topology such as "v5e:2x2".

    >>> split("v5p:2x2")
    ('v5p', (2, 2, 1))
    """
    name, _, text = topology.partition(":")
    sizes = text.split("x")
    if name not in GENERATIONS or not all(n.isdigit() and int(n) for n in sizes):
        raise ValueError(
            f"topology {topology!r}: expected a TPU generation ({', '.join(GENERATIONS)}) and the "
            "chips along each dimension, for example 'v5e:1x1', 'v5e:2x4', 'v5p:2x2x1' or 'v6e:2x2'"
        )
    shape = tuple(int(n) for n in sizes)
    dims = GENERATIONS[name].dims
    if len(shape) > dims:
        raise ValueError(f"topology {topology!r}: chips of {name} are wired in {dims} dimensions")
    return name, shape + (1,) * (dims - len(shape))


@functools.cache
def chip(topology: str) -> Chip:
    """Return a chip of a topology to compile for; raise if there is no TPU compiler."""
    name, shape = split(topology)
    missing = unavailable()
    if missing:
        raise RuntimeError(missing)
    from jax.experimental import topologies

    # libtpu's default is a host of 2x2 chips, into which a smaller topology does not divide.
    bounds = [min(n, most) for n, most in zip((*shape, 1, 1), _HOST, strict=False)]
    count = 1
    for n in shape:
        count *= n
    generation = GENERATIONS[name]
    with _quiet(f"{generation.accelerator}-{count}"):
        try:
            described = topologies.get_topology_desc(
                platform="tpu",
                topology_name=f"{name}:{'x'.join(map(str, shape))}",
                chips_per_host_bounds=bounds,
            )
        except Exception as error:
            raise RuntimeError(f"libtpu knows no topology {topology!r}: {error}") from error
    return Chip(described.devices[0], count, generation)


def unavailable() -> str:
    """Return why no program can be compiled for TPUs on this machine; "" if it can."""
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "AMD64"):
        return (
            f"the TPU compiler exists for Linux on x86-64 only, and this is {sys.platform} on "
            f"{platform.machine()}. Remedy: run it in a container, in CI, or on Colab."
        )
    if find_spec("libtpu") is None:
        return "the TPU compiler is not installed. Remedy: pip install 'multitorch[tpu]'"
    return ""


@contextlib.contextmanager
def _quiet(accelerator: str) -> Iterator[None]:
    """Tell libtpu, while it loads, what it would ask Google's metadata server on a cloud machine.

    Where chips are, it is left to find out for itself: it will have to run on them later.
    """
    if glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*"):
        yield
        return
    settings = {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": accelerator,
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        # its lock is for the chips: compilers may run side by side
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        # else it keeps files in /tmp/tpu_logs, and fails where another user has made that
        "TPU_LOG_DIR": "disabled",
        "TPU_STDERR_LOG_LEVEL": "3",
    }
    added = {key: value for key, value in settings.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)
