"""The dict in which a module keeps its parameters, buffers or children."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from multitorch.autograd.modes import changes

_MISSING = object()


class Registry(dict):
    """A dict whose entries also show as attributes of the module that owns it.

    The dict is the source of truth. Mirroring its entries into the owner's ``__dict__`` lets
    ``self.weight`` be a plain attribute lookup, several times faster than ``__getattr__``.
    The owner is held weakly: a strong reference would be a cycle, and a dropped model would
    keep its memory until the next garbage collection.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: object, entries: Mapping[str, Any] | None = None) -> None:
        super().__init__(entries or {})
        self._owner = weakref.ref(owner)
        self._attributes().update(self)

    def _attributes(self) -> dict[str, Any]:
        owner = self._owner()
        return {} if owner is None else owner.__dict__

    def __setitem__(self, name: str, value: Any) -> None:
        changes[0] += 1
        dict.__setitem__(self, name, value)
        owner = self._owner()
        if owner is not None:
            owner.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        changes[0] += 1
        super().__delitem__(name)
        self._attributes().pop(name, None)

    def pop(self, name: str, default: Any = _MISSING) -> Any:
        changes[0] += 1
        self._attributes().pop(name, None) if name in self else None
        return super().pop(name) if default is _MISSING else super().pop(name, default)

    def popitem(self) -> tuple[str, Any]:
        changes[0] += 1
        name, value = super().popitem()
        self._attributes().pop(name, None)
        return name, value

    def clear(self) -> None:
        changes[0] += 1
        attributes = self._attributes()
        for name in self:
            attributes.pop(name, None)
        super().clear()

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(  # type: ignore[override]
        self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), **more: Any
    ) -> None:
        for name, value in dict(entries, **more).items():
            self[name] = value

    def __ior__(self, entries: Mapping[str, Any]) -> Registry:  # type: ignore[override,misc]
        self.update(entries)
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple:
        # Copies and pickles travel as a plain dict; Module.__setstate__ binds them to their owner.
        return dict, (), None, None, iter(self.items())
