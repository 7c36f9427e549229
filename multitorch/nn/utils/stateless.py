"""Calling a module with other tensors in the place of its parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from multitorch.nn.module import Module
from multitorch.tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module on parameters and buffers given by name, leaving its own as they are.

    With `tie_weights` a tensor that the module has under several names is replaced under all.

    >>> import multitorch as torch
    >>> layer = torch.nn.Linear(1, 1)
    >>> given = {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}
    >>> torch.nn.utils.stateless.functional_call(layer, given, torch.tensor([[3.0]]))
    tensor([[7.]])
    """
    given = parameters_and_buffers
    if isinstance(given, (list, tuple)):
        given = {name: t for part in given for name, t in part.items()}
    inputs = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*inputs, **(kwargs or {}))


@contextlib.contextmanager
def _replaced(module: Module, given: dict[str, Tensor], tie: bool, strict: bool) -> Iterator[None]:
    places = _places(module)
    unknown = sorted(set(given) - set(places))
    missing = sorted(set(places) - set(given))
    if unknown and strict or (missing and strict):
        raise RuntimeError(f"Unexpected key(s): {unknown}. Missing key(s): {missing}.")
    if unknown:
        raise KeyError(f"{type(module).__name__} has no parameter or buffer {unknown[0]!r}")
    wanted = dict(given)
    if tie:
        new = {id(places[name][2]): t for name, t in given.items()}
        for name, (_, _, old) in places.items():
            if id(old) in new:
                wanted.setdefault(name, new[id(old)])
    try:
        for name, t in wanted.items():
            registry, key, _ = places[name]
            registry[key] = t
        yield
    finally:
        for name in wanted:
            registry, key, old = places[name]
            if registry.get(key) is wanted[name]:
                registry[key] = old


def _places(module: Module) -> dict[str, tuple[Any, str, Tensor]]:
    """Return (registry, key, tensor) of every parameter and buffer by its name."""
    found = {}
    for path, child in module.named_modules(remove_duplicate=False):
        for registry in (child._parameters, child._buffers):
            for key, t in registry.items():
                if t is not None:
                    found[f"{path}.{key}" if path else key] = (registry, key, t)
    return found
