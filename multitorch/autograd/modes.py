"""Grad modes, one set for each thread; usable as context managers and as decorators."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

changes = [0]
"""Counts the changes to attributes of modules and to hooks: code that reads them may then act
differently."""


class _Modes(threading.local):
    grad = True
    inference = False


_modes = _Modes()

off_threads = 0
"""How many times gradients are switched off at present, over all threads. While it is zero, which
is the common case, the hot path needs no look at the thread's own mode."""
_lock = threading.Lock()


def is_grad_enabled() -> bool:
    """Return whether operations of this thread are recorded on the tape."""
    return _modes.grad


def is_inference_mode_enabled() -> bool:
    """Return whether this thread is inside `inference_mode`."""
    return _modes.inference


def _set_grad(enabled: bool) -> bool:
    global off_threads
    before = _modes.grad
    if before != enabled:
        _modes.grad = enabled
        with _lock:
            off_threads += 1 if before else -1
    return before


class _Mode:
    """A grad mode as a context manager and a decorator (of functions and generator functions)."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_set_grad(self._enabled))

    def __exit__(self, *exc: object) -> None:
        _set_grad(self._before.pop())

    def clone(self) -> _Mode:
        """Return a fresh context of the same mode (a decorated function may be reentrant)."""
        return type(self)()  # type: ignore[call-arg]

    def __call__(self, function: Callable) -> Callable:
        import inspect

        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapper

    def _wrap_generator(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            sent: Any = None
            while True:
                try:
                    with self.clone():
                        item = generator.send(sent)
                except StopIteration as stop:
                    return stop.value
                sent = yield item

        return wrapper


class no_grad(_Mode):  # noqa: N801
    """Switch recording off.

    >>> x = multitorch.ones(2, requires_grad=True)
    >>> with multitorch.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self, function: Callable | None = None) -> None:
        super().__init__(False)

    def __new__(cls, function: Callable | None = None) -> Any:
        self = object.__new__(cls)
        if function is None:
            return self
        self.__init__()
        return self(function)


class enable_grad(no_grad):  # noqa: N801
    """Switch recording on, inside a `no_grad` block for instance."""

    def __init__(self, function: Callable | None = None) -> None:
        _Mode.__init__(self, True)


class set_grad_enabled(_Mode):  # noqa: N801
    """Set recording on or off, at once; as a context manager, until the block ends."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._at_once = [_set_grad(self._enabled)]

    def clone(self) -> _Mode:
        return set_grad_enabled(self._enabled)

    def __enter__(self) -> None:
        self._before.append(self._at_once.pop() if self._at_once else _modes.grad)
        _set_grad(self._enabled)

    def __call__(self, function: Callable) -> Callable:
        if self._at_once:
            _set_grad(self._at_once.pop())
        return super().__call__(function)


class inference_mode(_Mode):  # noqa: N801
    """Switch recording off as `no_grad` does, and say so in `is_inference_mode_enabled`."""

    def __init__(self, mode: bool | Callable = True) -> None:
        self._mode = bool(mode)
        self._inference: list[bool] = []
        super().__init__(False)

    def __new__(cls, mode: bool | Callable = True) -> Any:
        self = object.__new__(cls)
        if not callable(mode):
            return self
        self.__init__()
        return self(mode)

    def clone(self) -> _Mode:
        return inference_mode(self._mode)

    def __enter__(self) -> None:
        self._inference.append(_modes.inference)
        _modes.inference = self._mode
        self._before.append(_set_grad(_modes.grad and not self._mode))

    def __exit__(self, *exc: object) -> None:
        _modes.inference = self._inference.pop()
        _set_grad(self._before.pop())
