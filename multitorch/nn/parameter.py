"""Parameter and Buffer: the tensors that a module registers by assignment."""

from __future__ import annotations

from typing import Any

from multitorch.ops.creation import empty
from multitorch.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module registers as a parameter when it is assigned to an attribute.

    >>> import multitorch as torch
    >>> torch.nn.Parameter(torch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return _alias(cls, empty(0) if data is None else data, requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild, (type(self), self.data, self.requires_grad, _attributes(self))


class Buffer(Tensor):
    """A tensor that a module registers as a buffer when it is assigned to an attribute."""

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        data = empty(0) if data is None else data
        buffer = _alias(cls, data, data.requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            copy = type(self)(self.data.clone(), persistent=self.persistent)
            memo[id(self)] = copy.requires_grad_(self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild, (Buffer, self.data, self.requires_grad, _attributes(self))


def _alias(cls: Any, data: Tensor, requires_grad: bool) -> Any:
    """Make a leaf of class ``cls`` on the memory of ``data``."""
    if requires_grad and not (data.is_floating_point() or data.is_complex()):
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    return data.detach().as_subclass(cls).requires_grad_(requires_grad)


def _attributes(tensor: Tensor) -> dict[str, Any]:
    """Return what the user has set on a tensor; its gradient and hooks do not travel."""
    return {name: value for name, value in vars(tensor).items() if not name.startswith("_")}


def _rebuild(cls: Any, data: Tensor, requires_grad: bool, attributes: dict[str, Any]) -> Any:
    tensor = _alias(cls, data, requires_grad)
    vars(tensor).update(attributes)
    return tensor
