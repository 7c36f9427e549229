"""What a TPU cannot do: eager calls do it on the host after one warning, programs refuse it.

XLA refuses some linear algebra on TPUs. Of other programs its compiler does not refuse: it ends the
process, so that they must not reach it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from multitorch_jax.jit import x64

NO_COMPLEX128 = "TPUs have no complex128"
NO_SVD = "the TPU compiler has no singular vectors where 64-bit types are enabled"
"""So it is with libtpu 0.0.42: singular values alone compile."""
_warned: set[str] = set()


@functools.cache
def on_tpu() -> bool:
    """Whether JAX's arrays are on TPUs in this process."""
    return jax.default_backend() == "tpu"


# --- numbers and dtypes


def narrow(value: Any) -> Any:
    """Return a Python complex number as complex64; anything else as it is."""
    return np.complex64(value) if value.__class__ is complex else value


def narrow_type(dtype: Any) -> Any:
    """Return the dtype that a Python number of this dtype has here."""
    return np.complex64 if dtype is np.complex128 and on_tpu() else dtype


def refuse_complex128(dtype: Any, what: str) -> None:
    """Raise for a dtype that TPUs do not have."""
    if np.dtype(dtype) == np.complex128:
        raise RuntimeError(
            f"{what}: {NO_COMPLEX128}. Remedy: use complex64, or compute it on the host with "
            ".to('cpu')"
        )


# --- programs


def why_not(traced: Any) -> str:
    """Return why a traced function must not reach the TPU's compiler; "" if it may."""
    for equation in _equations(traced.jaxpr.jaxpr):
        if equation.primitive.name == "svd" and equation.params.get("compute_uv"):
            return NO_SVD
        for value in (*equation.invars, *equation.outvars):
            if getattr(value.aval, "dtype", None) == np.complex128:
                return NO_COMPLEX128
    return ""


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from _equations(getattr(inner, "jaxpr", inner))


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def check_program(traced: Any) -> None:
    """Raise for a program that a TPU cannot run."""
    reason = why_not(traced)
    if reason:
        raise RuntimeError(
            f"a compiled function: {reason}. Remedy: call this part of it outside, where it runs "
            "on the host, or use other dtypes"
        )


# --- eager calls


def guard(name: str, kernel: Callable, plain: Callable) -> Callable:
    """Return a kernel that goes to the host where a TPU cannot do it; `plain` is not jitted."""
    on_host: dict[Any, bool] = {}
    data_dependent = getattr(plain, "host", False)

    def call(*arrays: Any, **params: Any) -> Any:
        arrays = jax.tree.map(narrow, arrays)
        if data_dependent:
            return kernel(*arrays, **params)
        key = _key(arrays, params)
        if key not in on_host:
            on_host[key] = bool(why_not(_trace(plain, arrays, params)))
        if on_host[key]:
            return _run_on_host(name, kernel, arrays, params)
        try:
            return kernel(*arrays, **params)
        except (NotImplementedError, jax.errors.JaxRuntimeError) as error:
            if isinstance(error, jax.errors.JaxRuntimeError) and "UNIMPLEMENTED" not in str(error):
                raise
            on_host[key] = True
            return _run_on_host(name, kernel, arrays, params)

    return call


def _key(arrays: Any, params: dict[str, Any]) -> Any:
    leaves, tree = jax.tree.flatten(arrays)
    kinds = [(a.shape, a.dtype) if hasattr(a, "shape") else type(a) for a in leaves]
    return tuple(kinds), tree, tuple(params.items())


def _trace(plain: Callable, arrays: Any, params: dict[str, Any]) -> Any:
    with x64(True):
        return jax.jit(lambda *given: plain(*given, **params)).trace(*arrays)


def warn_of_host(name: str, platform: str) -> None:
    """Say, once for each op, that it runs on the host."""
    if platform != "cpu" and name not in _warned:
        _warned.add(name)
        warnings.warn(
            f"{name}: the {platform} cannot do this; it runs on the host, and the data travels "
            "there and back, now and from now on",
            RuntimeWarning,
            stacklevel=5,
        )


def _run_on_host(name: str, kernel: Callable, arrays: Any, params: dict[str, Any]) -> Any:
    warn_of_host(name, "TPU")
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
