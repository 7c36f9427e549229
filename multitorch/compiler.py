"""`torch.compiler`: what was compiled and why.

>>> multitorch.compiler.reset()
>>> multitorch.compiler.report()
[]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch.graph.capture import RecompileLimit, is_compiling
from multitorch.graph.report import Compilation, Report, report, reset
from multitorch.nn.scanned import scan_layers

__all__ = [
    "Compilation",
    "RecompileLimit",
    "Report",
    "disable",
    "is_compiling",
    "report",
    "reset",
    "scan_layers",
]


def disable(fn: Callable | None = None, recursive: bool = True) -> Any:
    """Return the function as it is: nothing of it is compiled unless a compiled one calls it."""
    return fn if fn is not None else disable
