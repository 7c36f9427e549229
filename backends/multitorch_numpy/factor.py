"""Matrix factorizations."""

from __future__ import annotations

from typing import Any

import numpy as np


def qr(x: Any, *, mode: str) -> Any:
    """Return Q and R of each matrix."""
    return tuple(np.linalg.qr(x, mode=mode))
