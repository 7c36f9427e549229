"""`multitorch.accelerator`: the accelerator of this machine, if there is one.

Source: https://docs.pytorch.org/docs/stable/accelerator.html
"""

from __future__ import annotations

from typing import Any

from multitorch.backend import registry
from multitorch.device import device

_TYPES = ("cuda", "tpu")


def _count(type: str) -> int:
    try:
        return registry.backend(type).device_count(type)
    except registry.BackendNotInstalled:
        return 0


def current_accelerator(check_available: bool = False) -> device | None:
    """Return the device type of the accelerator, None if there is none."""
    for type in _TYPES:
        if _count(type):
            return device(type)
    return None


def is_available() -> bool:
    """Return whether there is an accelerator."""
    return current_accelerator() is not None


def device_count() -> int:
    """Return the number of accelerators."""
    found = current_accelerator()
    return 0 if found is None else _count(found.type)


def current_device_index() -> int:
    """Return the index of the current accelerator, which is always the first."""
    return 0


def synchronize(device: Any = None) -> None:
    """Wait until the accelerator has done all work."""
    found = current_accelerator()
    if found is not None:
        found.backend.sync(found.type, found.ordinal)
