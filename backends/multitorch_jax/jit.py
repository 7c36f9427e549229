"""Kernels under `jax.jit`: compiled once for each set of static parameters, never for a value."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import numpy as np

x64: Any = getattr(jax, "enable_x64", None)
if x64 is None:  # JAX 0.7 has it in another place
    x64 = import_module("jax.experimental").enable_x64


def _enter(mode: bool) -> Any:
    context = x64(mode)
    context.__enter__()
    return context


def _leave(context: Any) -> None:
    context.__exit__(None, None, None)


# the setters beneath JAX's context manager take a fifth of its time; JAX 0.7 does not show them
swap_x64: Callable[[Any], Any] = getattr(x64, "swap_local", _enter)
"""Set this thread's 64-bit mode; return what `restore_x64` needs."""
restore_x64: Callable[[Any], None] = getattr(x64, "set_local", _leave)


def host(kernel: Callable) -> Callable:
    """Mark a kernel whose result depends on data: it runs as it is, not under `jax.jit`."""
    kernel.host = True  # type: ignore[attr-defined]
    return kernel


def eager(kernel: Callable) -> Callable:
    """Return the form of a kernel that eager dispatch calls."""
    if getattr(kernel, "host", False):
        return _in_x64(kernel)
    # an operand may only tell the device: jit would drop it, and compute on the first one
    plain = jax.jit(kernel, keep_unused=True)
    cache: dict[tuple, Callable] = {(): plain}

    def call(*arrays: Any, **params: Any) -> Any:
        key = tuple(params.items())
        compiled = cache.get(key)
        if compiled is None:
            compiled = cache[key] = jax.jit(_with_params(kernel, params), keep_unused=True)
        before = swap_x64(True)
        try:
            return compiled(*arrays)
        finally:
            restore_x64(before)

    return call


_NARROW = frozenset(
    np.dtype(name)
    for name in ("float32", "float16", "complex64", "int32", "int16", "int8", "uint8", "bool")
)


def elementwise(kernel: Callable) -> Callable:
    """Return the eager form of a pointwise kernel of one or two operands of equal dtype.

    The key of the parameters and the 64-bit mode take a tenth of the call. Here nothing wider than
    the operands can arise, so narrow operands do without them.
    """
    wide = eager(kernel)
    plain = jax.jit(kernel)

    def call(*arrays: Any, **params: Any) -> Any:
        if not params and getattr(arrays[0], "dtype", None) in _NARROW:
            return plain(*arrays)
        return wide(*arrays, **params)

    return call


def _in_x64(kernel: Callable) -> Callable:
    def call(*arrays: Any, **params: Any) -> Any:
        with x64(True):
            return kernel(*arrays, **params)

    return call


def _with_params(kernel: Callable, params: dict[str, Any]) -> Callable:
    def bound(*arrays: Any) -> Any:
        return kernel(*arrays, **params)

    bound.__name__ = getattr(kernel, "__name__", "kernel")
    return bound
