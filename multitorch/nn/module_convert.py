"""Moving a module's parameters and buffers between dtypes and devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from multitorch import dtypes
from multitorch.autograd import no_grad
from multitorch.device import device as Device
from multitorch.tensor import Tensor

if TYPE_CHECKING:
    pass


class ConvertMethods:
    """The ``to`` family of Module's methods; all work in place and return the module."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    children: Callable[[], Any]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the data of each parameter, its gradient and each buffer by ``fn`` of it."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is not None:
                _apply_to_parameter(parameter, fn)
        for name, buffer in list(self._buffers.items()):
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device, a floating or complex dtype, or those of another tensor.

        Integer parameters and buffers change their device but keep their dtype.

        >>> import multitorch as torch
        >>> torch.nn.Linear(2, 3).to(torch.float64).weight.dtype
        torch.float64
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, "
                f"but got desired dtype={dtype}"
            )

        def convert(t: Tensor) -> Tensor:
            kind = dtype if t.is_floating_point() or t.is_complex() else None
            if memory_format is not None and t.dim() in (4, 5):
                return t.to(device, kind, non_blocking, memory_format=memory_format)
            return t.to(device, kind, non_blocking)

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move to ``device`` without copying the values."""
        return self._apply(lambda t: t.new_empty(t.shape, device=device), recurse=recurse)

    def cpu(self) -> Self:
        """Move to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move to a CUDA device."""
        return self._apply(lambda t: t.cuda(device))

    def type(self, dst_type: Any) -> Self:
        """Cast every parameter and buffer to ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))  # type: ignore[arg-type,return-value]

    def float(self) -> Self:
        """Cast the floating parameters and buffers to float32."""
        return self._cast_floating(dtypes.float32)

    def double(self) -> Self:
        """Cast the floating parameters and buffers to float64."""
        return self._cast_floating(dtypes.float64)

    def half(self) -> Self:
        """Cast the floating parameters and buffers to float16."""
        return self._cast_floating(dtypes.float16)

    def bfloat16(self) -> Self:
        """Cast the floating parameters and buffers to bfloat16."""
        return self._cast_floating(dtypes.bfloat16)

    def _cast_floating(self, dtype: Any) -> Self:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def share_memory(self) -> Self:
        """Return the module: within one process its memory is shared already."""
        return self


def _apply_to_parameter(parameter: Any, fn: Callable[[Tensor], Tensor]) -> None:
    # The Parameter object stays, so an optimizer made before the move keeps working.
    with no_grad():
        parameter.data = fn(parameter)
        if parameter.grad is not None:
            grad = fn(parameter.grad).requires_grad_(parameter.grad.requires_grad)
            parameter.grad = None
            parameter.grad = grad


def _parse_to(*args: Any, **kwargs: Any) -> tuple:
    """Read the overloads to(device, dtype), to(dtype) and to(tensor)."""
    given = dict(zip(_parameter_names(args), args, strict=False))
    repeated = given.keys() & kwargs.keys()
    if repeated:
        raise TypeError(f"to() got multiple values for argument '{min(repeated)}'")
    given.update(kwargs)
    other = given.pop("tensor", None)
    device = given.pop("device", None if other is None else other.device)
    dtype = given.pop("dtype", None if other is None else other.dtype)
    non_blocking = given.pop("non_blocking", False)
    given.pop("copy", None)
    memory_format = given.pop("memory_format", None)
    if given:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(given))}'")
    if dtype is not None and not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"to(): dtype must be a torch.dtype, not {type(dtype).__name__}")
    return None if device is None else Device(device), dtype, non_blocking, memory_format


def _parameter_names(args: tuple) -> tuple[str, ...]:
    first = args[0] if args else None
    if isinstance(first, dtypes.dtype):
        return ("dtype", "non_blocking", "copy")
    if isinstance(first, Tensor):
        return ("tensor", "non_blocking", "copy")
    return ("device", "dtype", "non_blocking", "copy")
