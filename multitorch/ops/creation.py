"""Making tensors: from data, or filled with a value (ranges are in `multitorch.ops.ranges`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.autograd.tape import LEAF
from multitorch.device import CPU, resolve
from multitorch.dtypes import dtype as DType
from multitorch.dtypes import from_numpy_dtype, to_dtype
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import wrap
from multitorch.ops.shape import filled
from multitorch.ops.shape import new_zeros as _zeros
from multitorch.ops.sizes import sizes_of
from multitorch.promotion import promote_types

# --- the two ways to make an array ----------------------------------------------------------------

_anchors: dict[tuple[Any, DType], Any] = {}


def anchor(dev: Any, dtype: DType) -> Any:
    """Return a zero-dim tensor: an operand that tells a creation op its device and dtype."""
    found = _anchors.get((dev, dtype))
    if found is None:
        a = dev.backend.full(0, shape=(), dtype=dtype.numpy(), type=dev.type, index=dev.ordinal)
        found = _anchors[dev, dtype] = wrap(a, dev)
    return found


def is_anchor(t: Any) -> bool:
    """Whether a tensor is one that `anchor` returns: nobody ever writes to it."""
    return _anchors.get((t._dev, t._dtype)) is t


def _full(shape: tuple[int, ...], value: Any, dtype: DType, dev: Any) -> Any:
    if value == 0 and value.__class__ is int:
        return _zeros(anchor(dev, dtype), shape=shape)
    return filled(anchor(dev, dtype), value, shape=shape)


def from_host(a: np.ndarray, dev: Any) -> Any:
    """Return a tensor with the value of a NumPy array, whose memory it may take over."""
    return wrap(dev.backend.put(a, type=dev.type, index=dev.ordinal), dev)


def finish(t: Any, requires_grad: bool) -> Any:
    if requires_grad:
        if not t._dtype.inexact:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        t._node = LEAF
    return t


# --- from data ------------------------------------------------------------------------------------

_NUMBERS: dict[type, DType | None] = {
    int: dtypes.int64, bool: dtypes.bool_, float: None, complex: None
}  # fmt: skip


def _number_dtype(kind: type) -> DType:
    if kind is float:
        return dtypes.get_default_dtype()
    if kind is complex:
        return dtypes.get_default_dtype().to_complex()
    found = _NUMBERS[kind]
    assert found is not None
    return found


def _scalar_dtype(value: Any) -> DType | None:
    """Return the dtype of a scalar (NumPy's keep their own), None if `value` is no scalar."""
    if isinstance(value, np.generic):
        return to_dtype(value.dtype)
    for kind in (bool, float, complex, int):
        if isinstance(value, kind):
            return _number_dtype(kind)
    return None


def _infer(data: Any) -> DType:
    found = _scalar_dtype(data)
    if found is not None:
        return found
    if isinstance(data, dispatch.Tensor):
        return data._dtype
    if isinstance(data, np.ndarray):
        return to_dtype(data.dtype)
    if isinstance(data, str):
        raise TypeError("new(): invalid data type 'str'")
    if not hasattr(data, "__len__"):
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
    kinds = {_infer(item) for item in data}
    if not kinds:
        return dtypes.get_default_dtype()
    first, *rest = kinds
    for kind in rest:
        first = promote_types(first, kind)
    return first


def _sizes(data: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while not isinstance(data, (str, bytes)) and hasattr(data, "__len__"):
        if isinstance(data, (np.ndarray, dispatch.Tensor)):
            return (*shape, *data.shape)
        shape.append(len(data))
        if not shape[-1]:
            break
        data = data[0]
    return tuple(shape)


def _fill(out: np.ndarray, data: Any, dim: int) -> None:
    if isinstance(data, dispatch.Tensor):
        data = data.detach()._host()
    if out.ndim == 0:
        out[...] = data
        return
    if not hasattr(data, "__len__"):
        raise TypeError(f"not a sequence: {type(data).__name__} at dim {dim}")
    if len(data) != len(out):
        raise ValueError(f"expected sequence of length {len(out)} at dim {dim} (got {len(data)})")
    if isinstance(data, np.ndarray):
        np.copyto(out, data, casting="unsafe")
        return
    for i, item in enumerate(data):
        _fill(out[i, ...], item, dim + 1)


def _is_plain(data: Any) -> bool:
    """Whether data is a Python number, or nested lists of nothing else."""
    if data.__class__ in _NUMBERS:
        return True
    if data.__class__ is not list and data.__class__ is not tuple:
        return False
    kinds = set(map(type, data))
    return kinds <= _NUMBERS.keys() or (kinds <= _LISTS and all(map(_is_plain, data)))


def _array_of(data: Any, dtype: DType | None) -> np.ndarray:
    """Return a new NumPy array with the value of `data`, of PyTorch's dtype for it."""
    if _is_plain(data):
        try:
            a = np.array(data)
        except (ValueError, TypeError, OverflowError):
            a = None
        if a is not None and a.dtype.kind in "bifc":
            target = _number_dtype(_KINDS[a.dtype.kind]) if dtype is None else dtype
            return a if a.dtype == target.numpy() else a.astype(target.numpy())
    target = _infer(data) if dtype is None else dtype
    out = np.empty(_sizes(data), target.numpy())
    _fill(out, data, 0)
    return out


_LISTS = frozenset((list, tuple))
_KINDS: dict[str, type] = {"b": bool, "i": int, "f": float, "c": complex}


def tensor(
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Return a new tensor with a copy of data: numbers, nested lists, arrays or tensors.

    >>> tensor([[1, 2], [3, 4]]).dtype, tensor([1, 2.5])
    (torch.int64, tensor([1.0000, 2.5000]))
    """
    if dtype is not None:
        dtype = to_dtype(dtype)
    if isinstance(data, dispatch.Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use "
            "sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than "
            "torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        copy = data.detach().clone()
        if dtype is not None or device is not None:
            copy = copy.to(resolve(device) if device is not None else copy._dev, dtype)
        return finish(copy, requires_grad)
    if isinstance(data, (np.ndarray, np.generic)):
        kind = to_dtype(data.dtype) if dtype is None else dtype
        return finish(
            from_host(np.array(data, kind.numpy(), order="C"), resolve(device)), requires_grad
        )
    if (
        hasattr(data, "__dlpack__")
        and hasattr(data, "__array__")
        and not isinstance(data, np.generic)
    ):
        return tensor(np.asarray(data), dtype=dtype, device=device, requires_grad=requires_grad)
    return finish(from_host(_array_of(data, dtype), resolve(device)), requires_grad)


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, **options: Any) -> Any:
    """Return a zero-dim tensor of the default dtype with one value."""
    return full((), s, dtype=dtype or dtypes.get_default_dtype(), device=device, **options)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Any:
    """Return data as a tensor, without a copy where memory can be shared.

    >>> a = np.zeros(2); t = as_tensor(a); a[0] = 1; t.tolist()
    [1.0, 0.0]
    """
    if isinstance(data, dispatch.Tensor):
        return (
            data
            if dtype is None and device is None
            else data.to(data._dev if device is None else resolve(device), dtype)
        )
    if isinstance(data, np.ndarray):
        t = from_numpy(data)
        return t.to(resolve(device), None if dtype is None else to_dtype(dtype))
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Return an object as a tensor; `copy` says whether it must or must not be copied."""
    if isinstance(obj, (dispatch.Tensor, np.ndarray)):
        t = as_tensor(obj, dtype, device)
        shares = t is obj or isinstance(obj, np.ndarray) and np.shares_memory(t._a, obj)
        if copy is False and not shares:
            raise ValueError("can't alias the given object: it has another device or dtype")
        if copy and shares:
            t = t.clone()
    else:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        t = tensor(obj, dtype=dtype, device=device)
    if requires_grad and not t.requires_grad:
        t = finish(t.detach() if t is obj else t, True)
    return t if requires_grad or not t.requires_grad else t.detach()


def from_numpy(ndarray: np.ndarray) -> Any:
    """Return a cpu tensor that shares memory with a NumPy array."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if ndarray.dtype.newbyteorder("=") not in from_numpy_dtype:
        raise TypeError(
            f"can't convert np.ndarray of type {ndarray.dtype}. The only supported types are: "
            "float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, "
            "uint32, uint16, uint8, and bool."
        )
    if not ndarray.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported."
        )
    if any(s < 0 for s in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    return wrap(ndarray.view(np.ndarray), CPU.canonical())


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Any:
    """Return a vector that shares memory with an object of the buffer protocol."""
    kind = to_dtype(dtype)
    size = memoryview(buffer).nbytes
    if not size:
        raise ValueError(f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({size} bytes) minus 1"
        )
    if count < 0 and (size - offset) % kind.itemsize:
        raise ValueError(
            f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a "
            f"multiple of element size ({kind.itemsize})"
        )
    if count > 0 and offset + count * kind.itemsize > size:
        raise ValueError(
            f"requested buffer length ({count} * {kind.itemsize} bytes) after offset ({offset} "
            f"bytes) must not be greater than actual buffer length ({size} bytes)"
        )
    a = np.frombuffer(buffer, kind.numpy(), count, offset)
    return finish(wrap(a, CPU.canonical()), requires_grad)


# --- filled ---------------------------------------------------------------------------------------


def _shape_of(name: str, args: tuple, size: Any) -> tuple[int, ...]:
    shape = sizes_of(name, args if size is None else (size,))
    if shape and min(shape) < 0:
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}"
        )
    return shape


def _maker(name: str, value: Any, doc: str) -> Callable:
    def make(
        *args: Any, size: Any = None, out: Any = None, dtype: Any = None, layout: Any = None,
        device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Any:  # fmt: skip
        shape = _shape_of(name, args, size)
        kind = dtypes.get_default_dtype() if dtype is None else to_dtype(dtype)
        if out is not None:
            return out._store(_full(shape, value, out._dtype if dtype is None else kind, out._dev))
        return finish(_full(shape, value, kind, resolve(device)), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = doc
    return make


zeros = _maker("zeros", 0, "Return a tensor of zeros: `zeros(2, 3)` or `zeros((2, 3))`.")
ones = _maker("ones", 1, "Return a tensor of ones: `ones(2, 3)` or `ones((2, 3))`.")
empty = _maker("empty", 0, "Return a tensor whose values mean nothing (zeros, here).")


def _value_dtype(value: Any) -> DType:
    if isinstance(value, dispatch.Tensor):
        return value._dtype
    found = _scalar_dtype(value.item() if isinstance(value, np.generic) else value)
    if found is not None:
        return found
    raise TypeError(f"full(): argument 'fill_value' must be Number, not {type(value).__name__}")


def full(
    size: Any, fill_value: Any, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Return a tensor filled with one value, whose type gives the dtype.

    >>> full((2,), 7)
    tensor([7, 7])
    """
    shape = _shape_of("full", (size,), None)
    kind = _value_dtype(fill_value) if dtype is None else to_dtype(dtype)
    if out is not None:
        return out._store(_filled_with(shape, fill_value, out._dtype, out._dev))
    return finish(_filled_with(shape, fill_value, kind, resolve(device)), requires_grad)


def _filled_with(shape: tuple[int, ...], value: Any, kind: DType, dev: Any) -> Any:
    if isinstance(value, dispatch.Tensor):
        if value.ndim:
            raise TypeError("full(): argument 'fill_value' must be Number, not Tensor")
        return value.detach().to(dev, kind).expand(shape).clone()
    return _full(shape, _as_kind(value, kind), kind, dev)


def _as_kind(value: Any, kind: DType) -> Any:
    """Bring a number to the kind of a dtype, with PyTorch's errors for what does not fit."""
    if hasattr(value, "item"):
        value = value.item()
    if kind.is_complex:
        return complex(value)
    if isinstance(value, complex):
        if value.imag:
            raise RuntimeError(f"value cannot be converted to type {kind.name} without overflow")
        value = value.real
    if kind.is_floating_point:
        return float(value)
    if kind is dtypes.bool_:
        return bool(value)
    number = int(value)
    limits = dtypes.iinfo(kind)
    if not kind.is_signed and -limits.max <= number < 0:
        number += limits.max + 1  # unsigned numbers wrap
    if not limits.min <= number <= limits.max:
        raise RuntimeError(f"value cannot be converted to type {kind.name} without overflow")
    return number


def _like_maker(name: str, value: Any, doc: str) -> Callable:
    def make(
        input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
        requires_grad: bool = False, memory_format: Any = None, pin_memory: bool = False,
    ) -> Any:  # fmt: skip
        kind = input._dtype if dtype is None else to_dtype(dtype)
        dev = input._dev if device is None else resolve(device)
        return finish(_full(tuple(input._a.shape), value, kind, dev), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = doc
    return make


zeros_like = _like_maker("zeros_like", 0, "Return zeros of the input's shape, dtype and device.")
ones_like = _like_maker("ones_like", 1, "Return ones of the input's shape, dtype and device.")
empty_like = _like_maker("empty_like", 0, "Return a tensor like the input of no certain value.")


def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, memory_format: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Return a tensor of the input's shape, dtype and device filled with one value."""
    kind = input._dtype if dtype is None else to_dtype(dtype)
    dev = input._dev if device is None else resolve(device)
    return finish(_filled_with(tuple(input._a.shape), fill_value, kind, dev), requires_grad)


def _new_maker(name: str, value: Any, doc: str) -> Callable:
    def make(
        input: Any, *args: Any, size: Any = None, dtype: Any = None, device: Any = None,
        requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
    ) -> Any:  # fmt: skip
        kind = input._dtype if dtype is None else to_dtype(dtype)
        dev = input._dev if device is None else resolve(device)
        return finish(_full(_shape_of(name, args, size), value, kind, dev), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = doc
    return make


new_zeros = _new_maker("new_zeros", 0, "Return zeros with this tensor's dtype and device.")
new_ones = _new_maker("new_ones", 1, "Return ones with this tensor's dtype and device.")
new_empty = _new_maker("new_empty", 0, "Return a tensor with this tensor's dtype and device.")


def new_full(
    input: Any, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Return a tensor filled with one value, with this tensor's dtype and device."""
    kind = input._dtype if dtype is None else to_dtype(dtype)
    dev = input._dev if device is None else resolve(device)
    return finish(
        _filled_with(_shape_of("new_full", (size,), None), fill_value, kind, dev), requires_grad
    )


def new_tensor(
    input: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Return a tensor of data, with this tensor's dtype and device."""
    if isinstance(data, dispatch.Tensor):
        data = data.detach()._host()
    kind = input._dtype if dtype is None else dtype
    return tensor(
        data, dtype=kind, device=input._dev if device is None else device,
        requires_grad=requires_grad,
    )  # fmt: skip


def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """Return a tensor of the given sizes and strides, in elements."""
    size, stride = tuple(size), tuple(stride)
    span = 1 + sum([(n - 1) * s for n, s in zip(size, stride, strict=True)]) if prod(size) else 0
    t = empty(span, dtype=dtype, device=device).as_strided(size, stride)
    return finish(t, requires_grad)


# --- questions ---------------------------------------------------------------------------------


def is_tensor(obj: Any) -> bool:
    """Whether an object is a Tensor."""
    return isinstance(obj, dispatch.Tensor)


def is_storage(obj: Any) -> bool:
    """Return False: storages are not objects here."""
    return False


def numel(input: Any) -> int:
    """Return the number of elements."""
    return input.numel()


def from_dlpack(ext_tensor: Any) -> Any:
    """Return a tensor of an object that speaks DLPack; host memory is shared."""
    if isinstance(ext_tensor, dispatch.Tensor):
        return ext_tensor.detach()
    return from_numpy(np.from_dlpack(ext_tensor))


FUNCTIONS: dict[str, Callable] = { "as_tensor": as_tensor, "asarray": asarray, "empty": empty,
    "empty_like": empty_like, "empty_strided": empty_strided,
    "from_dlpack": from_dlpack, "from_numpy": from_numpy, "frombuffer": frombuffer, "full": full,
    "full_like": full_like, "is_storage": is_storage, "is_tensor": is_tensor, "numel": numel,
    "ones": ones, "ones_like": ones_like,
    "scalar_tensor": scalar_tensor, "tensor": tensor, "zeros": zeros, "zeros_like": zeros_like,
}  # fmt: skip
METHODS: dict[str, Callable] = {
    "new_empty": new_empty, "new_full": new_full, "new_ones": new_ones, "new_tensor": new_tensor,
    "new_zeros": new_zeros,
}  # fmt: skip
