"""Names for annotations, `torch.types`: what functions take that take more than one type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from multitorch.device import device

__all__ = ["Device", "Ints", "Number"]

Number: TypeAlias = int | float | complex
"""A Python number in the place of a tensor's element."""
Device: TypeAlias = device | str | int
"""What `device=` takes: a device, its name, or the index of an accelerator."""
Ints: TypeAlias = int | Sequence[int]
"""One number for all dimensions, or one for each: `dim=`, `kernel_size=`, `stride=`."""
