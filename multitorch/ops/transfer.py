"""Moving tensors between devices and dtypes: `to`, `cpu`, `cuda`, `type`."""

from __future__ import annotations

from typing import Any

from multitorch import dtypes
from multitorch.device import CPU
from multitorch.device import device as Device
from multitorch.dtypes import dtype as DType
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import record, world_for, wrap
from multitorch.ops.op import REGISTRY, Op


def _move(F: Any, g: Any, source: Device, target: Device) -> Any:
    if F.of_tensors:
        return move(g, source)
    return _move_raw(g, target, source)


def _move_raw(a: Any, source: Device, target: Device) -> Any:
    if target.type == "meta":
        return target.backend.put(a, type="meta", index=0)
    return target.backend.put(source.backend.get(a), type=target.type, index=target.ordinal)


_to_device = Op("to_device", "x", node="ToCopy", opaque=True)
_to_device.vjp(x=_move)


def move(x: Any, target: Device) -> Any:
    """Copy a tensor to another device, differentiably."""
    if dispatch.capturing and world_for(x._dev) is not x._dev.backend:
        raise RuntimeError(
            f"to({str(target)!r}): a tensor cannot change device inside a compiled function; move "
            "it before the call"
        )
    source = x._dev
    a = _move_raw(x._a, source, target)
    if a is x._a:
        a = target.backend.copy(a)
    t = wrap(a, target)
    record(_to_device, (x,), (x._a,), {"source": source, "target": target}, (t,), target)
    return t


def _parse(args: tuple, kwargs: dict) -> tuple[Any, Any, bool]:
    dtype, dev, copy = kwargs.get("dtype"), kwargs.get("device"), kwargs.get("copy", False)
    other = kwargs.get("other")
    flags = []
    for arg in args:
        if isinstance(arg, DType):
            dtype = arg
        elif isinstance(arg, dispatch.Tensor):
            other = arg
        elif isinstance(arg, bool):
            flags.append(arg)
        elif isinstance(arg, (Device, str, int)):
            dev = arg
        elif arg is not None:
            dtype = dtypes.to_dtype(arg)
    if other is not None:
        dtype, dev = other._dtype, other._dev
    return dtype, dev, copy or (len(flags) > 1 and flags[1])


def to(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the tensor with another dtype or device; the tensor itself if nothing changes.

    >>> multitorch.ones(2).to(multitorch.float64).dtype
    torch.float64
    """
    dtype, dev, copy = _parse(args, kwargs)
    target = x._dev if dev is None else Device(dev).canonical()
    t = x
    if target is not x._dev:
        t = move(t, target)
    if dtype is not None and dtype is not t._dtype:
        t = REGISTRY["cast"].apply(t, dtype=dtypes.to_dtype(dtype).numpy())
    return t.clone() if copy and t is x else t


def cpu(x: Any, memory_format: Any = None) -> Any:
    """Return a copy in host memory; the tensor itself if it is there."""
    return to(x, CPU)


def cuda(x: Any, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Any:
    """Return a copy on the CUDA device."""
    return to(x, Device("cuda" if device is None else device))


def type_(x: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Return the type's name, or the tensor cast to another type."""
    if dtype is None:
        prefix = "torch." if x._dev.type == "cpu" else f"torch.{x._dev.type}."
        return f"{prefix}{x._dtype.scalar_name}Tensor"
    if isinstance(dtype, str):
        name = dtype.rpartition(".")[2].removesuffix("Tensor")
        found = [d for d in dtypes.ALL if d.scalar_name == name]
        if not found:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = found[0]
    return to(x, dtypes.to_dtype(dtype))


def type_as(x: Any, other: Any) -> Any:
    """Return the tensor with the dtype and device of another."""
    return to(x, other)


def _caster(dtype: DType) -> Any:
    def cast(x: Any, memory_format: Any = None) -> Any:
        return to(x, dtype)

    cast.__doc__ = f"Return the tensor as {dtype}."
    return cast


METHODS: dict[str, Any] = {
    "to": to,
    "cpu": cpu,
    "cuda": cuda,
    "type": type_,
    "type_as": type_as,
    **{
        name: _caster(dtypes.NAMES[name])
        for name in (
            "half", "float", "double", "int", "long", "short", "bool", "bfloat16", "cfloat",
            "cdouble",
        )
    },
    "byte": _caster(dtypes.uint8),
    "char": _caster(dtypes.int8),
}  # fmt: skip
