"""`multitorch.cuda`: what programs ask of CUDA devices.

Source: https://docs.pytorch.org/docs/stable/cuda.html
"""

from __future__ import annotations

from typing import Any

from multitorch.accelerator import _count
from multitorch.device import device as Device


def is_available() -> bool:
    """Return whether JAX sees a CUDA device."""
    return _count("cuda") > 0


def device_count() -> int:
    """Return the number of CUDA devices."""
    return _count("cuda")


def current_device() -> int:
    """Return the index of the current CUDA device, which is always the first."""
    _require()
    return 0


def is_initialized() -> bool:
    """Return whether CUDA is in use."""
    return is_available()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Return whether bfloat16 works: XLA emulates it where hardware lacks it."""
    return is_available()


def set_device(device: Any) -> None:
    """Accept the first device; others are chosen with `device=`."""
    _require()
    index = device if isinstance(device, int) else Device(device).ordinal
    if index:
        raise RuntimeError(
            f"set_device({device!r}): the current CUDA device is always 0; name another one "
            "explicitly, as in device='cuda:1'"
        )


def get_device_name(device: Any = None) -> str:
    """Return the device's name."""
    _require()
    dev = Device("cuda", 0) if device is None else Device(device)
    return str(dev.backend.devices("cuda")[dev.ordinal].device_kind)


def synchronize(device: Any = None) -> None:
    """Wait until the device has done all work."""
    _require()
    dev = Device("cuda", 0) if device is None else Device(device)
    dev.backend.sync("cuda", dev.ordinal)


def empty_cache() -> None:
    """Do nothing: XLA manages device memory."""


def manual_seed(seed: int) -> None:
    """Seed the generators of CUDA devices; without a device, do nothing."""
    manual_seed_all(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all CUDA devices; without a device, do nothing."""
    from multitorch.random.generator import default_for

    for index in range(device_count()):
        default_for(Device("cuda", index)).manual_seed(seed)


def _require() -> None:
    if not is_available():
        raise RuntimeError(
            "No CUDA GPUs are available. Remedy: pip install 'multitorch[cuda]' on a machine with "
            "an NVIDIA GPU, or use device='cpu' or 'jax'."
        )
