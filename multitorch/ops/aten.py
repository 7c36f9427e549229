"""The namespace `torch.ops.aten`: every function under its dispatcher name.

>>> from multitorch.ops import aten
>>> aten.add.Tensor(multitorch.ones(2), 1)
tensor([2., 2.])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch.ops import apply as dispatch
from multitorch.ops import families, native

FUNCTIONS: dict[str, Callable] = {}


class Packet:
    """All overloads of one op, of which Python needs to know only one function."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)

    def __getattr__(self, overload: str) -> Packet:
        """Return the packet for any overload: `default`, `Tensor`, `dim_IntList` …"""
        if overload.startswith("__"):
            raise AttributeError(overload)
        return self


def __getattr__(name: str) -> Packet:
    if name.startswith("__"):
        raise AttributeError(name)
    found = native.EVERY.get(name) or _of_families(name) or getattr(dispatch.Tensor, name, None)
    if found is None:
        raise AttributeError(f"torch.ops.aten has no op {name!r}")
    return Packet(found)


def _of_families(name: str) -> Callable | None:
    modules = families.modules()
    for module in modules:
        found = getattr(module, "FUNCTIONS", {}).get(name)
        if found is not None:
            return found
    for module in modules:  # what is public in torch.nn.functional only
        found = vars(module).get(name)
        if callable(found) and found.__module__ == module.__name__:
            return found
    return None
