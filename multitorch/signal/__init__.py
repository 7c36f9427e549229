"""Signal processing, `torch.signal`."""

from __future__ import annotations

from multitorch.signal import windows

__all__ = ["windows"]
