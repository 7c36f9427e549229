"""What a TPU cannot do, met in an eager call: it is done on the host, after one warning.

XLA refuses some linear algebra on TPUs. Of complex128, which they do not have, its compiler does
not refuse all programs: some end the process, so that they must not reach it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from multitorch_jax.jit import x64

_WIDE = (np.dtype(np.float64), np.dtype(np.complex128))
_warned: set[str] = set()


@functools.cache
def on_tpu() -> bool:
    """Whether JAX's arrays are on TPUs in this process."""
    return jax.default_backend() == "tpu"


def refuse_complex128(dtype: Any, what: str) -> None:
    """Raise for a dtype that TPUs do not have."""
    if np.dtype(dtype) == np.complex128:
        raise RuntimeError(
            f"{what}: TPUs have no complex128. Remedy: use complex64, or compute it on the host "
            "with .to('cpu')"
        )


def narrow(value: Any) -> Any:
    """Return a Python complex number as complex64; anything else as it is."""
    return np.complex64(value) if value.__class__ is complex else value


def guard(name: str, kernel: Callable, plain: Callable) -> Callable:
    """Return a kernel that goes to the host where a TPU cannot do it; `plain` is not jitted."""
    wide: dict[Any, bool] = {}
    on_host: set[Any] = set()

    def call(*arrays: Any, **params: Any) -> Any:
        arrays = jax.tree.map(narrow, arrays)
        key = _key(arrays, params)
        if key in on_host:
            return _run_on_host(name, kernel, arrays, params)
        if _may_widen(arrays, params):
            if key not in wide:
                wide[key] = _uses_complex128(plain, arrays, params)
            if wide[key]:
                return _run_on_host(name, kernel, arrays, params)
        try:
            return kernel(*arrays, **params)
        except (NotImplementedError, jax.errors.JaxRuntimeError) as error:
            if isinstance(error, jax.errors.JaxRuntimeError) and "UNIMPLEMENTED" not in str(error):
                raise
            on_host.add(key)
            return _run_on_host(name, kernel, arrays, params)

    return call


def _key(arrays: Any, params: dict[str, Any]) -> Any:
    leaves, tree = jax.tree.flatten(arrays)
    kinds = [(a.shape, a.dtype) if hasattr(a, "shape") else type(a) for a in leaves]
    return tuple(kinds), tree, tuple(params.items())


def _may_widen(arrays: Any, params: dict[str, Any]) -> bool:
    dtypes = [getattr(a, "dtype", None) for a in jax.tree.leaves(arrays)]
    return any(d in _WIDE for d in dtypes) or any(
        isinstance(v, np.dtype) and v in _WIDE for v in params.values()
    )


def _uses_complex128(plain: Callable, arrays: Any, params: dict[str, Any]) -> bool:
    if getattr(plain, "host", False):
        return False
    with x64(True):
        lowered = jax.jit(lambda *given: plain(*given, **params)).lower(*arrays)
    return "complex<f64>" in lowered.as_text()


def _run_on_host(name: str, kernel: Callable, arrays: Any, params: dict[str, Any]) -> Any:
    if name not in _warned:
        _warned.add(name)
        warnings.warn(
            f"{name}: the TPU cannot do this; it runs on the host, now and from now on, and the data "
            "travels there and back",
            RuntimeWarning,
            stacklevel=4,
        )
    home = next(a for a in jax.tree.leaves(arrays) if isinstance(a, jax.Array))
    (device,) = home.devices()
    cpu = jax.local_devices(backend="cpu")[0]
    with x64(True), jax.default_device(cpu):
        moved = jax.tree.map(lambda a: jax.device_put(a, cpu) if _is_array(a) else a, arrays)
        result = kernel(*moved, **params)
        for a in jax.tree.leaves(result):
            refuse_complex128(a.dtype, name)
        return jax.tree.map(lambda a: jax.device_put(a, device), result)


def _is_array(a: Any) -> bool:
    return isinstance(a, jax.Array)
