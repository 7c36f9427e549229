"""The op families, in the order in which their tables are merged."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

NAMES = (
    "pointwise", "logic", "complex_numbers", "maths", "reduce", "statistics", "scan", "sort",
    "views", "parts", "shape", "join", "index", "gather", "masks", "creation", "ranges", "linalg", "factor",
    "activation", "conv", "pool", "norm", "loss", "random", "transfer", "writes", "optim",
)  # fmt: skip


def modules() -> list[ModuleType]:
    """Import and return the families that exist."""
    from importlib.util import find_spec

    names = [f"multitorch.ops.{name}" for name in NAMES]
    return [import_module(name) for name in names if find_spec(name) is not None]
