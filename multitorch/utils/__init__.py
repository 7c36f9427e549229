"""Utilities: data loading, hooks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from multitorch.utils import data as data


def __getattr__(name: str) -> Any:
    # Submodules that are rarely needed are imported at their first use.
    try:
        return import_module(f"multitorch.utils.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"multitorch.utils.{name}":
            raise
        raise AttributeError(f"module 'multitorch.utils' has no attribute {name!r}") from None
