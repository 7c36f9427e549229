"""Carry samples of PyTorch's operator database over to multitorch, and results back."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.testing._internal import common_methods_invocations as database
from torch.testing._internal.opinfo.core import DecorateInfo
from torch.testing._internal.opinfo.core import OpInfo as Op

import multitorch

op_db = database.op_db
_VARIANTS_OF_BYTES = {torch.bfloat16: (torch.int16, ml_dtypes.bfloat16)}


def name_of(op: Op) -> str:
    """Return the op's name in the database, with its variant: 'pow' or 'norm-fro'."""
    return f"{op.name}-{op.variant_test_name}" if op.variant_test_name else op.name


# --- functions


def resolve(op: Op) -> Callable | None:
    """Return multitorch's function for an op of the database, None if there is none.

    A lambda of the database is run with `torch` bound to multitorch; any other op is found by name.
    """
    found: Any = _lookup(op.name)
    if found is None:
        return None
    if getattr(op.op, "__module__", None) == database.__name__:
        return rebind(op.op)
    return found if callable(found) else getattr(found, "__get__", None)


def _lookup(name: str) -> Any:
    found: Any = multitorch
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except (AttributeError, ImportError):
        return getattr(multitorch.Tensor, name, None)
    return found


def rebind(function: Any) -> Any:
    """Return a Python function of the database that calls multitorch where it called torch."""
    if not isinstance(function, types.FunctionType):
        return function
    names = {**function.__globals__, "torch": multitorch, "wrapper_set_seed": _seeded}
    cells = tuple(
        types.CellType(rebind(c.cell_contents)) if callable(c.cell_contents) else c
        for c in function.__closure__ or ()
    )
    bound = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, cells
    )
    bound.__kwdefaults__ = function.__kwdefaults__
    return bound


def _seeded(op: Callable, *args: Any, **kwargs: Any) -> Any:
    multitorch.manual_seed(42)
    return op(*args, **kwargs)


# --- values


def to_multitorch(value: Any, device: str) -> Any:
    """Return a sample's argument with its tensors, dtypes and devices replaced by multitorch's."""
    if isinstance(value, torch.Tensor):
        t = multitorch.tensor(to_numpy(value), device=device)
        return t.requires_grad_() if value.requires_grad else t
    if isinstance(value, torch.dtype):
        return getattr(multitorch, str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return multitorch.device(device)
    if isinstance(value, (torch.memory_format, torch.layout)):
        return getattr(multitorch, str(value).removeprefix("torch."))
    if isinstance(value, torch.Size):
        return multitorch.Size(value)
    if isinstance(value, (list, tuple)):
        return type(value)([to_multitorch(v, device) for v in value])
    if isinstance(value, dict):
        moved = {k: to_multitorch(v, device) for k, v in value.items()}
        return {**moved, "device": device} if moved.get("device") is not None else moved
    if isinstance(value, types.FunctionType):
        return rebind(value)
    return value


def to_numpy(t: torch.Tensor) -> np.ndarray:
    """Return a tensor's values as an array of their own."""
    t = t.detach().resolve_conj().resolve_neg()
    if t.dtype in _VARIANTS_OF_BYTES:
        carrier, dtype = _VARIANTS_OF_BYTES[t.dtype]
        return t.contiguous().view(carrier).numpy().view(dtype).copy()
    return t.numpy().copy()


def to_torch(value: Any) -> Any:
    """Return a result of multitorch with its tensors replaced by PyTorch's."""
    if isinstance(value, multitorch.Tensor):
        a = np.array(value._dev.backend.get(value._a))
        for dtype, (carrier, scalar) in _VARIANTS_OF_BYTES.items():
            if a.dtype == scalar:
                return torch.from_numpy(a.view(np.int16)).view(dtype)
        return torch.from_numpy(a)
    if isinstance(value, multitorch.dtype):
        return getattr(torch, str(value).removeprefix("torch."))
    if isinstance(value, (list, tuple)):
        return tuple(to_torch(v) for v in value)
    return value


# --- comparison


def tolerances(op: Op, dtype: torch.dtype) -> dict[str, float]:
    """Return the widest tolerance that the database itself sets for an op on the CPU."""
    found = []
    for decoration in op.decorators:
        if not isinstance(decoration, DecorateInfo) or decoration.device_type not in (None, "cpu"):
            continue
        for decorator in decoration.decorators:
            table = getattr(decorator, "d", None)
            if isinstance(table, dict) and dtype in table:
                found.append(table[dtype])
    if not found:
        return {}
    return {"rtol": max(t.rtol for t in found), "atol": max(t.atol for t in found)}


def assert_same(actual: Any, expected: Any, **tolerance: float) -> None:
    """Assert that a result has the structure, dtypes, shapes and values of PyTorch's."""
    if isinstance(expected, torch.Tensor):
        assert isinstance(actual, torch.Tensor), f"got {type(actual).__name__}, expected a tensor"
        torch.testing.assert_close(
            actual, expected.detach(), equal_nan=True, check_device=False, **tolerance
        )
    elif isinstance(expected, (list, tuple)):
        assert isinstance(actual, (list, tuple)), f"got {type(actual).__name__}, expected a tuple"
        assert len(actual) == len(expected), f"got {len(actual)} results, expected {len(expected)}"
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e, **tolerance)
    else:
        assert type(actual) is type(expected) and actual == expected, f"{actual!r} != {expected!r}"
