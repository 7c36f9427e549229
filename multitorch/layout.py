"""Layouts and memory formats: names that programs pass around; data is always strided.

The sparse layout is there to be named, and refused.
"""

from __future__ import annotations


class _Named:
    """A named constant that prints as PyTorch's."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class layout(_Named):  # noqa: N801
    """How a tensor's elements are stored."""


class memory_format(_Named):  # noqa: N801
    """In which order a tensor's dimensions lie in memory."""


strided = layout("strided")
sparse_coo = layout("sparse_coo")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
