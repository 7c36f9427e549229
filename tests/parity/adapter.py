"""Carry samples of PyTorch's operator database over to multitorch, and results back."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.testing._internal import common_methods_invocations as database
from torch.testing._internal import common_utils
from torch.testing._internal.common_device_type import tol
from torch.testing._internal.opinfo.core import DecorateInfo
from torch.testing._internal.opinfo.core import OpInfo as Op

import multitorch

op_db = database.op_db
# it searches the whole stack, source files included, for a unittest that is never there
common_utils.extract_test_fn = lambda: None
_CARRIERS = {torch.bfloat16: (torch.int16, ml_dtypes.bfloat16)}


def name_of(op: Op) -> str:
    """Return the op's name in the database, with its variant: 'pow' or 'norm-fro'."""
    return f"{op.name}-{op.variant_test_name}" if op.variant_test_name else op.name


# --- functions


def resolve(op: Op) -> Callable | None:
    """Return multitorch's function for an op of the database, None if there is none.

    A function of the database is run with `torch` bound to multitorch; any other op is found by name.
    """
    if isinstance(op.op, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return lookup(f"ops.aten.{op.name.removeprefix('torch.ops.aten.')}")
    if isinstance(op.op, types.MethodDescriptorType):
        return getattr(multitorch.Tensor, op.op.__name__, None)
    if isinstance(op.op, types.BuiltinFunctionType) and op.op.__name__ != op.name:
        return lookup(op.name) or lookup(op.op.__name__)
    names = (op.name, f"{op.name}_", f"ops.aten.{op.name}")  # some only exist as in-place methods
    found: Any = next((f for f in map(lookup, names) if f is not None), None)
    if found is None:
        return None
    if (getattr(op.op, "__module__", None) or "").startswith("torch.testing"):
        return counterpart(op.op)
    return found if callable(found) else getattr(found, "__get__", None)


def lookup(name: str) -> Any:
    """Return what PyTorch has at a dotted name, None if there is nothing."""
    found: Any = multitorch
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except (AttributeError, ImportError):
        return getattr(multitorch.Tensor, name, None)
    return found


def counterpart(function: Any) -> Any:
    """Return multitorch's form of a function, method, partial or module of PyTorch's.

    A Python function of the database is run with `torch` bound to multitorch.
    """
    if isinstance(function, functools.partial):
        return functools.partial(counterpart(function.func), *function.args, **function.keywords)
    if isinstance(function, Op):  # what a database's function asks for its name
        return function
    if isinstance(function, torch.nn.Module):
        return getattr(multitorch.nn, type(function).__name__)()
    if isinstance(function, types.FunctionType):
        if function.__module__.startswith("torch.testing"):
            return _rebind(function)
        if function.__module__ == "torch._tensor":
            return getattr(multitorch.Tensor, function.__name__)
        where = function.__module__.removeprefix("torch.").removeprefix("functional")
        return lookup(f"{where}.{function.__name__}".lstrip("."))
    return getattr(multitorch.Tensor, function.__name__)


def _rebind(function: types.FunctionType) -> types.FunctionType:
    names = {**function.__globals__, "torch": multitorch, "wrapper_set_seed": _seeded}
    cells = tuple(
        types.CellType(counterpart(c.cell_contents)) if callable(c.cell_contents) else c
        for c in function.__closure__ or ()
    )
    bound = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, cells
    )
    bound.__kwdefaults__ = function.__kwdefaults__
    return bound


def _seeded(op: Callable, *args: Any, **kwargs: Any) -> Any:
    multitorch.manual_seed(42)
    with multitorch.random.use_cpu_stream():  # what is drawn decides about the result
        return op(*args, **kwargs)


# --- values


def to_multitorch(value: Any, device: str, memory: dict | None = None) -> Any:
    """Return a sample's argument with its tensors, dtypes and devices replaced by multitorch's.

    Tensors that share memory do so again: `memory` holds what was converted already.
    """
    memory = {} if memory is None else memory
    if isinstance(value, torch.Tensor):
        if id(value) not in memory:
            t = _tensor(value.detach(), device, memory)
            memory[id(value)] = t.requires_grad_() if value.requires_grad else t
        return memory[id(value)]
    if isinstance(value, torch.dtype):
        return getattr(multitorch, str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return multitorch.device(device)
    if isinstance(value, (torch.memory_format, torch.layout)):
        return getattr(multitorch, str(value).removeprefix("torch."))
    if isinstance(value, torch.Size):
        return multitorch.Size(value)
    if isinstance(value, (list, tuple)):
        return type(value)([to_multitorch(v, device, memory) for v in value])
    if isinstance(value, dict):
        moved = {k: to_multitorch(v, device, memory) for k, v in value.items()}
        return {**moved, "device": device} if moved.get("device") is not None else moved
    if isinstance(value, (types.FunctionType, torch.nn.Module)):
        return counterpart(value)
    return value


def _tensor(t: torch.Tensor, device: str, memory: dict) -> Any:
    """Return the same values; a part of a larger memory is a part of such a memory again."""
    if t.is_meta:
        dtype = to_multitorch(t.dtype, device)
        return multitorch.empty(tuple(t.shape), dtype=dtype, device="meta")
    if t.is_conj() or t.is_neg() or not t.numel():
        return multitorch.tensor(to_numpy(t), device=device)
    place = (t.untyped_storage().data_ptr(), t.dtype)
    held = t.untyped_storage().nbytes() // t.element_size()
    if place not in memory:
        if held == t.numel():
            whole = multitorch.tensor(to_numpy(t), device=device)
            if t.is_contiguous():
                memory[place] = whole
            return whole
        memory[place] = multitorch.tensor(to_numpy(t.as_strided((held,), (1,), 0)), device=device)
    return memory[place].detach().as_strided(tuple(t.shape), t.stride(), t.storage_offset())


def to_numpy(t: torch.Tensor) -> np.ndarray:
    """Return a tensor's values as an array of their own."""
    t = t.detach().resolve_conj().resolve_neg()
    if t.dtype in _CARRIERS:
        carrier, dtype = _CARRIERS[t.dtype]
        return t.contiguous().view(carrier).numpy().view(dtype).copy()
    return t.numpy().copy()


def to_torch(value: Any) -> Any:
    """Return a result of multitorch with its tensors replaced by PyTorch's."""
    if isinstance(value, multitorch.Tensor):
        a = np.array(value._dev.backend.get(value._a))
        for dtype, (carrier, scalar) in _CARRIERS.items():
            if a.dtype == scalar:
                return torch.from_numpy(a.view(np.int16)).view(dtype)
        return torch.from_numpy(a)
    if isinstance(value, multitorch.dtype):
        return getattr(torch, str(value).removeprefix("torch."))
    if isinstance(value, (list, tuple)):
        return tuple(to_torch(v) for v in value)
    return value


# --- comparison

WIDER = (
    # PyTorch multiplies complex numbers by three real convolutions, which cancel more.
    ("nn.functional.conv", torch.complex64, tol(atol=5e-4, rtol=1e-4)),
    # Sums of hundreds of products near 80, in another order.
    ("nn.functional.conv", torch.float32, tol(atol=5e-4, rtol=1e-5)),
    # The bias is added to a sum that is already rounded, of numbers near 8.
    ("nn.functional.conv_transpose", torch.bfloat16, tol(atol=1e-2, rtol=1.6e-2)),
    # Sums of ten products near 80, in another order.
    ("matmul", torch.complex64, tol(atol=5e-5, rtol=1e-5)),
    # Scores near 1600, whose last bit is the logarithm of a weight's relative error.
    ("nn.functional.multi_head_attention_forward", torch.float32, tol(atol=5e-3, rtol=2e-4)),
    # PyTorch's single-precision series is good to four or five digits; ours goes by doubles.
    ("polygamma", torch.float32, tol(atol=1e-5, rtol=1e-4)),
    ("special.polygamma", torch.float32, tol(atol=1e-5, rtol=1e-4)),
)


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
    found += [tol for name, d, tol in WIDER if d == dtype and op.name.startswith(name)]
    if not found:
        return {}
    default = torch.testing._comparison.default_tolerances(dtype)
    return {
        "rtol": max([default[0], *[getattr(t, "rtol", 0.0) for t in found]]),
        "atol": max([default[1], *[getattr(t, "atol", t) for t in found]]),
    }


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
