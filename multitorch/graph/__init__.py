"""Recording: arrays without data, the graph, device "meta", and `compile`."""

from __future__ import annotations

from multitorch.graph.capture import compile

__all__ = ["compile"]
