"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from multitorch.ops.join import cat
from multitorch.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters flattened into one vector."""
    every = list(parameters)
    _check_devices(every)
    return cat([p.reshape(-1) for p in every])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write a vector back into the parameters."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    every = list(parameters)
    _check_devices(every)
    start = 0
    for parameter in every:
        size = parameter.numel()
        parameter.data = vec[start : start + size].view_as(parameter).data
        start += size


def _check_devices(tensors: list[Tensor]) -> None:
    if len({t.device for t in tensors}) > 1:
        raise TypeError(
            "Found two parameters on different devices, this is currently not supported."
        )
