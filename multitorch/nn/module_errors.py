"""Naming the module in which an error arose, as a path from the outermost module."""

from __future__ import annotations

from typing import Any

from multitorch.tensor import Tensor

#: The errors that bad shapes, types and indices raise; anything else passes untouched.
LOCATED_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)


class _Trail:
    """What an error under way remembers: the module it last left and the path from there down."""

    __slots__ = ("args", "call", "kind", "module", "note", "path")

    def __init__(self, error: BaseException, module: Any, call: str) -> None:
        self.args = error.args
        self.note: str | None = None
        self.start(module, call)

    def start(self, module: Any, call: str) -> None:
        self.module = module
        self.kind = type(module).__name__
        self.path = ""
        self.call = call


def locate(error: BaseException, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    """Extend the path that ``error`` carries by one step, on its way out of ``module``."""
    trail = getattr(error, "_module_trail", None)
    if trail is None:
        error._module_trail = _Trail(error, module, _describe(module, args, kwargs))  # type: ignore[attr-defined]
        return
    if trail.module is module:
        return
    name = _name_in(module, trail.module)
    if name is None:
        # The failing module is not registered below this one: this is the deepest known point.
        trail.start(module, _describe(module, args, kwargs))
        return
    trail.path = f"{name}.{trail.path}" if trail.path else name
    trail.module = module
    _rewrite(error, trail)


def _rewrite(error: BaseException, trail: _Trail) -> None:
    place = f"in module {trail.path} ({trail.kind})"
    if isinstance(error, RuntimeError) and len(trail.args) == 1 and isinstance(trail.args[0], str):
        error.args = (f"{trail.args[0]} [{place}]",)
    notes = getattr(error, "__notes__", [])
    if trail.note in notes:
        notes.remove(trail.note)
    trail.note = f"{place}: {trail.call}"
    error.add_note(trail.note)


def _name_in(module: Any, target: Any) -> str | None:
    for name, child in module.named_modules():
        if child is target:
            return name or None
    return None


def _describe(module: Any, args: tuple, kwargs: dict[str, Any]) -> str:
    shown = [_brief(value) for value in args]
    shown += [f"{key}={_brief(value)}" for key, value in kwargs.items()]
    try:
        settings = module.extra_repr()
    except Exception:  # a broken extra_repr must not hide the error being reported
        settings = "..."
    return f"{type(module).__name__}({settings}) called with ({', '.join(shown)})"


def _brief(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).rpartition('.')[2]}{list(value.shape)}"
    return type(value).__name__ if not isinstance(value, (int, float, str)) else repr(value)
