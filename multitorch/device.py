"""`multitorch.device`: which hardware a tensor lives on."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from multitorch.backend import Backend, registry

_defaults = threading.local()


class device:  # noqa: N801 (PyTorch's name)
    """Name a device: `device("cpu")`, `device("jax", 1)`, `device("cuda:0")`.

    As a context manager it is the default device of creation functions. Instances are interned,
    so that two equal devices are one object.

    >>> device("jax:1").index
    1
    """

    __slots__ = ("_backend", "_canonical", "index", "type")
    type: str
    index: int | None
    _interned: ClassVar[dict[tuple[str, int | None], device]] = {}

    def __new__(cls, type: Any, index: int | None = None) -> device:
        if isinstance(type, device):
            return type
        if isinstance(type, int) and not isinstance(type, bool):
            type, index = _accelerator_type(), type
        if not isinstance(type, str):
            raise TypeError(f"device(): expected a device, str or int, got {type!r}")
        key = (type, index)
        found = cls._interned.get(key)
        return found if found is not None else cls._make(type, index)

    @classmethod
    def _make(cls, spec: str, index: int | None) -> device:
        type, colon, number = spec.partition(":")
        if colon:
            if index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed "
                    f"explicitly: {spec}"
                )
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{spec}'")
            index = int(number)
        if not registry.is_known(type):
            raise RuntimeError(
                f"Expected one of {', '.join(registry.known_types())} device type at start of "
                f"device string: {spec}"
            )
        found = cls._interned.get((type, index))
        if found is None:
            found = object.__new__(cls)
            found.type, found.index = type, index
            found._backend = found._canonical = None
            found = cls._interned.setdefault((type, index), found)
        return found

    @property
    def backend(self) -> Backend:
        """The backend that computes for this device."""
        found = self._backend
        if found is None:
            found = self._backend = registry.backend(self.type)
        return found

    @property
    def ordinal(self) -> int:
        """The index, 0 if none was given."""
        return self.index or 0

    def canonical(self) -> device:
        """Return the device as tensors report it (`cpu`, `jax:0`); raise if it is absent."""
        found = self._canonical
        if found is None:
            if self.backend.device_count(self.type) <= self.ordinal:
                raise RuntimeError(
                    f"device {self} is not available; devices present: "
                    f"{', '.join(registry.present())}"
                )
            indexed = self.type not in ("cpu", "meta")
            found = self._canonical = device(self.type, self.ordinal if indexed else None)
        return found

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple:
        return device, (self.type, self.index)

    def __copy__(self) -> device:
        return self

    def __deepcopy__(self, memo: dict) -> device:
        return self

    def __enter__(self) -> device:
        stack = _stack()
        stack.append(self.canonical())
        return self

    def __exit__(self, *exc: object) -> None:
        _stack().pop()


def _stack() -> list[device]:
    stack = getattr(_defaults, "stack", None)
    if stack is None:
        stack = _defaults.stack = []
    return stack


_global_default: list[device] = []
CPU = device("cpu")


def _accelerator_type() -> str:
    for name in ("cuda", "tpu"):
        try:
            if registry.backend(name).device_count(name):
                return name
        except registry.BackendNotInstalled:
            break
    raise RuntimeError(
        f"device(int): there is no accelerator; devices present: {', '.join(registry.present())}"
    )


def get_default_device() -> device:
    """Return the device on which creation functions put tensors."""
    stack = getattr(_defaults, "stack", None)
    if stack:
        return stack[-1]
    return _global_default[-1] if _global_default else CPU


def set_default_device(new: Any) -> None:
    """Set the device of creation functions called without `device=`; None resets it to cpu."""
    _global_default[:] = [] if new is None else [device(new).canonical()]


def resolve(spec: Any) -> device:
    """Return the canonical device for a user's `device=` argument (None: the default)."""
    if spec is None:
        return get_default_device().canonical()
    return device(spec).canonical()
