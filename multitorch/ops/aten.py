"""The namespace `torch.ops.aten`: every function under its dispatcher name.

>>> from multitorch.ops import aten
>>> aten.add.Tensor(multitorch.ones(2), 1)
tensor([2., 2.])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    import multitorch
    from multitorch.ops import native

    found = native.EVERY.get(name) or getattr(multitorch, name, None)
    found = found or getattr(multitorch.nn.functional, name, None)
    found = found or getattr(multitorch.Tensor, name, None)
    if found is None:
        raise AttributeError(f"torch.ops.aten has no op {name!r}")
    return Packet(found)
