"""PyTorch's namespace of backend switches: accepted where they have a meaning here."""

from __future__ import annotations

from multitorch.backends import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "mps"]
