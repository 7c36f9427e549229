"""Find backends by device type: the entry-point group `multitorch.backends`, or `register`.

An entry point's name is a device type, its value a function without arguments that returns the
`Backend`. It is imported when a device of that type is first used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module

from multitorch.backend.contract import Backend

Factory = Callable[[], Backend]

# The backends of this distribution, spelled as its entry points are: reading installed metadata
# takes longer than everything else that `import multitorch` does.
_BUILT_IN = {
    "cpu": "multitorch_numpy:load",
    "jax": "multitorch_jax:load",
    "cuda": "multitorch_jax:load",
    "tpu": "multitorch_jax:load",
    "meta": "multitorch.graph.meta:load",
}
_registered: dict[str, Factory] = {}
_loaded: dict[str, Backend] = {}
_lock = threading.RLock()
MATMUL_PRECISIONS = ("highest", "high", "medium")
matmul_precision = "highest"
"""How exact products of float32 arrays are on every backend."""
ARRAY_TYPES: set[type] = set()
"""Classes of the raw arrays of all loaded backends; anything else a kernel returns is converted."""


class BackendNotInstalled(RuntimeError):
    """Raised when a device type is known but the library behind it is not installed."""


def register(type: str, factory: Factory) -> None:
    """Register a backend for a device type; a type can be registered once."""
    if type in _registered or type in _BUILT_IN:
        raise ValueError(f"device type {type!r} is registered already")
    _registered[type] = factory


@lru_cache(maxsize=1)
def _entry_points() -> dict[str, Factory]:
    from importlib.metadata import entry_points

    return {
        point.name: (lambda point=point: point.load()())
        for point in entry_points(group="multitorch.backends")
        if point.name not in _BUILT_IN
    }


def known_types() -> tuple[str, ...]:
    """Return the device types that some backend serves, installed or not."""
    return tuple(dict.fromkeys([*_BUILT_IN, *_registered, *_entry_points()]))


def is_known(type: str) -> bool:
    """Whether some backend serves this device type."""
    return type in _BUILT_IN or type in _registered or type in _entry_points()


def _built_in(type: str) -> Backend:
    module, _, function = _BUILT_IN[type].partition(":")
    try:
        return getattr(import_module(module), function)()
    except ModuleNotFoundError as error:
        extra = type if type in ("cuda", "tpu") else "jax"
        raise BackendNotInstalled(
            f"device {type!r} needs the Python package {error.name!r}, which is not installed: "
            f"pip install 'multitorch[{extra}]'"
        ) from error


def backend(type: str) -> Backend:
    """Return the backend of a device type, importing it on first use."""
    found = _loaded.get(type)
    if found is not None:
        return found
    with _lock:
        if type in _BUILT_IN:
            found = _built_in(type)
        else:
            found = (_registered.get(type) or _entry_points()[type])()
        _loaded[type] = found
        if matmul_precision != MATMUL_PRECISIONS[0]:
            found.set_matmul_precision(matmul_precision)
        ARRAY_TYPES.update(found.array_types)
    return found


def set_matmul_precision(precision: str) -> None:
    """Tell every backend, those to come included, how exact float32 products shall be."""
    global matmul_precision
    with _lock:
        changes, matmul_precision = precision != matmul_precision, precision
        for found in set(_loaded.values()) if changes else ():
            found.set_matmul_precision(precision)


def present() -> list[str]:
    """List the devices of this machine, such as `['cpu', 'jax:0']`."""
    names = []
    for type in known_types():
        if type == "meta":
            continue
        try:
            count = backend(type).device_count(type)
        except BackendNotInstalled:
            continue
        names += ["cpu"] if type == "cpu" else [f"{type}:{i}" for i in range(count)]
    return names
