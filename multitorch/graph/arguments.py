"""The arguments of a compiled function: the tensors among them, and what a caller names them."""

from __future__ import annotations

import functools
from typing import Any

from multitorch.graph.graph import Graph
from multitorch.graph.recording import Recording
from multitorch.ops import apply as dispatch


def tensors_in(value: Any) -> list[Any]:
    """List the tensors inside nested tuples, lists and dicts."""
    if isinstance(value, dispatch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [t for item in value for t in tensors_in(item)]


def unwrap(function: Any) -> Any:
    """Return the Python function behind wrappers, methods and modules."""
    while True:
        if hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif hasattr(function, "__func__"):
            function = function.__func__
        elif isinstance(function, functools.partial):
            function = function.func
        elif not hasattr(function, "__code__") and hasattr(function, "forward"):
            function = function.forward
        else:
            return function


def argument_names(function: Any) -> list[str]:
    """Return the names of a function's positional arguments, as a caller gives them."""
    plain = unwrap(function)
    code = getattr(plain, "__code__", None)
    names = [] if code is None else list(code.co_varnames[: code.co_argcount])
    bound = hasattr(function, "__self__") or hasattr(function, "forward")
    return names[1:] if bound else names


def given_tensors(recording: Recording, positions: list[str]) -> list[tuple[str, Any]]:
    """List the tensors among the arguments with their names."""
    args, kwargs = recording.arguments
    given = {positions[i] if i < len(positions) else str(i): a for i, a in enumerate(args)} | kwargs
    return _paths("", given)


def labels(recording: Recording, graph: Graph, positions: list[str]) -> dict[int, str]:
    """Name the inputs that are arguments, in a graph with the recording's inputs first."""
    names = {id(t): name for name, t in given_tensors(recording, positions)}
    numbers = dict(zip(recording.graph.inputs, graph.inputs, strict=False))
    return {
        numbers.get(symbol.id, symbol.id): f"argument {names[id(t)]}"
        for t, _, symbol in recording.lifted.values()
        if id(t) in names
    }


def _paths(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dispatch.Tensor):
        return [(prefix, value)]
    if isinstance(value, (tuple, list)):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return []
    inner = "{}[{!r}]" if prefix else "{}{}"
    return [found for k, v in value.items() for found in _paths(inner.format(prefix, k), v)]
