"""Generic bodies of the fused ops: `body(F, *arrays, **params)`, written over the primitives.

Every backend inherits them; each family has a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType

from multitorch.backend.collect import FAMILIES


def _collect() -> dict[str, Callable]:
    bodies: dict[str, Callable] = {}
    for family in FAMILIES:
        name = f"multitorch.backend.generic_{family}"
        if find_spec(name) is None:
            continue
        for key, body in vars(import_module(name)).items():
            if isinstance(body, FunctionType) and not key.startswith("_"):
                bodies[key] = body
    return bodies


BODIES: dict[str, Callable] = _collect()
