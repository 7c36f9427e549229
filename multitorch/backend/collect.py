"""Collect kernels by name from a backend's modules, one for each op family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

_NOT_KERNELS = ("builtins", "collections", "contextlib", "functools", "itertools", "math", "typing")
FAMILIES = (
    "pointwise", "maths", "special", "bessel", "polynomials", "reduce", "sort", "shape", "index",
    "linalg", "solve", "matrix_functions", "activation", "conv", "pool", "norm", "rnn", "loss",
    "random", "resample", "ctc", "optim", "writes", "fft", "control",
)  # fmt: skip


def kernels(package: str, families: Sequence[str] = FAMILIES) -> dict[str, Callable]:
    """Return the public functions of `package.<family>` by name; not every family need be there.

    What a module imports from Python's own library is not a kernel; what it takes from its array
    library (`exp = np.exp`) is.
    """
    found: dict[str, Callable] = {}
    for family in families:
        name = f"{package}.{family}"
        if find_spec(name) is None:
            continue
        for key, kernel in vars(import_module(name)).items():
            if key.startswith("_") or not callable(kernel) or isinstance(kernel, type):
                continue
            origin = (getattr(kernel, "__module__", None) or "").partition(".")[0]
            if origin not in _NOT_KERNELS:
                found[key] = kernel
    return found
