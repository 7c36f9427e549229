"""Layers that are alike as one loop of a compiled program."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator
from typing import Any

from multitorch.autograd.modes import no_grad
from multitorch.graph.capture import is_compiling
from multitorch.nn.module import Module
from multitorch.nn.utils.stateless import _places, _replaced
from multitorch.ops.control import flatten, scan
from multitorch.ops.join import stack
from multitorch.ops.ranges import arange
from multitorch.tensor import Tensor

__all__ = ["scan_layers"]

_TENSORS = ("_parameters", "_buffers")


def scan_layers(layers: Iterable[Module], x: Any, *args: Any, **kwargs: Any) -> Any:
    """Return `x` taken through all layers: `for layer in layers: x = layer(x, *args, **kwargs)`.

    Inside a compiled function the layers become one loop, whose body is compiled once, however many
    there are: a `scan` over their stacked parameters and buffers. They must be alike, which means
    the same types with equal settings, and parameters of the same shapes; `x` must keep its shape
    and dtype. Gradients arrive at each layer's own parameters, and buffers that a layer writes to
    (batch norm's statistics) are written back. The backward pass computes each layer anew instead
    of keeping its intermediate values, as `checkpoint` does.

    >>> layers = multitorch.nn.ModuleList([multitorch.nn.Linear(4, 4) for _ in range(8)])
    >>> step = multitorch.compile(lambda x: multitorch.compiler.scan_layers(layers, x).sum())
    """
    layers = list(layers)
    if len(layers) < 2 or not is_compiling():
        for layer in layers:
            x = layer(x, *args, **kwargs)
        return x
    for i, layer in enumerate(layers):
        for what, first, other in _differences(layers[0], layer, ""):
            raise ValueError(
                f"scan_layers: layer {i} differs from layer 0 in {what}: {other!r} against "
                f"{first!r}. Remedy: call the layers in a loop, or scan those that are alike"
            )
    return _scanned(layers, x, args, kwargs)


def _scanned(layers: list[Module], x: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    first = layers[0]
    places = [_places(layer) for layer in layers]
    stacked = {name: stack([found[name][2] for found in places], 0) for name in places[0]}
    registries = [id(module._buffers) for module in first.modules()]
    buffers = [n for n, (registry, _, _) in places[0].items() if id(registry) in registries]

    def step(carry: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        own = {name: state[name].clone() for name in buffers}
        before = {name: t._a for name, t in own.items()}
        with _replaced(first, state | own, False, False):
            carry = first(carry, *args, **kwargs)
        return carry, {name: t for name, t in own.items() if t._a is not before[name]}

    if not stacked:  # the loop needs something to go along
        leaves: list[Any] = []
        flatten(x, leaves)
        count = arange(len(layers), device=leaves[0].device)
        return scan(lambda carry, _: step(carry, {}), x, count)[0]
    x, written = scan(step, x, stacked)
    with no_grad():
        for name, rows in written.items():
            for found, row in zip(places, rows.unbind(0), strict=True):
                found[name][2].copy_(row)
    return x


# --- what is alike --------------------------------------------------------------------------------


def _differences(first: Module, other: Module, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield (what, its value in the first module, in the other) for all that is not alike."""
    if type(first) is not type(other):
        yield path or "its type", type(first), type(other)
        return
    kept = first._modules.keys() | first._parameters.keys() | first._buffers.keys() | {"_modules"}
    for key in sorted((first.__dict__.keys() | other.__dict__.keys()) - kept):
        a, b = first.__dict__.get(key), other.__dict__.get(key)
        if key in _TENSORS:
            a, b = _shapes(a), _shapes(b)
        if not _alike(a, b, first, other):
            yield f"{path}{key}", a, b
    a, b = first._modules, other._modules
    if list(a) != list(b):
        yield f"{path}_modules", list(a), list(b)
        return
    for key, child in a.items():
        twin = b[key]
        if child is not None and twin is not None:
            yield from _differences(child, twin, f"{path}{key}.")
        elif child is not twin:
            yield path + key, child, twin


def _shapes(registry: Any) -> dict[str, Any]:
    return {
        key: None if t is None else (tuple(t.shape), t.dtype, t.device, t.requires_grad)
        for key, t in registry.items()
    }


def _alike(a: Any, b: Any, first: Module, other: Module) -> bool:
    """Whether two attributes, of two modules that should be alike, do the same."""
    if a is b or (a is first and b is other):
        return True
    if type(a) is not type(b) or isinstance(a, Tensor):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_alike(a[k], b[k], first, other) for k in a)
    if isinstance(a, (tuple, list)):
        pairs = zip(a, b, strict=False)
        return len(a) == len(b) and all(_alike(u, v, first, other) for u, v in pairs)
    parts = _parts(a), _parts(b)
    if not parts[0]:
        return a == b
    return all(_alike(u, v, first, other) for u, v in zip(*parts, strict=True))


def _parts(value: Any) -> list[Any]:
    """Return what makes a function what it is; nothing for other values."""
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.FunctionType):
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__code__, closure, value.__defaults__, value.__kwdefaults__]
    return []
