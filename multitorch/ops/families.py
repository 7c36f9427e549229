"""The op families, in the order in which their tables are merged."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

NAMES = (
    "pointwise", "logic", "complex_numbers", "maths", "reduce", "statistics", "scan", "calculus",
    "sort", "views", "parts", "views_inplace", "shape", "join", "index", "gather", "masks",
    "creation", "ranges", "linalg", "activation", "conv", "pool", "norm", "loss", "random",
    "transfer", "writes", "optim",
)  # fmt: skip


def modules() -> list[ModuleType]:
    """Import and return the families."""
    return [import_module(f"multitorch.ops.{name}") for name in NAMES]
