"""The op families, in the order in which their tables are merged."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

NAMES = (
    "pointwise", "logic", "complex_numbers", "maths", "reduce", "statistics", "scan", "calculus",
    "sort", "views", "parts", "views_inplace", "shape", "join", "index", "gather", "masks",
    "creation", "ranges", "linalg", "triangular", "lu", "householder", "lstsq", "lobpcg",
    "matrix_functions", "activation", "conv", "pool", "norm", "rnn", "loss", "random", "transfer",
    "writes", "optim", "windows", "stft", "interpolate", "ctc", "grid", "copies", "native",
    "segments", "storage", "histograms", "foreach", "aten", "control",
)  # fmt: skip


def modules() -> list[ModuleType]:
    """Import and return the families."""
    return [import_module(f"multitorch.ops.{name}") for name in NAMES]
