"""Sequences of different lengths as one batch: padded, or packed without the padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from multitorch import dtypes
from multitorch.ops.creation import tensor
from multitorch.ops.join import cat, stack
from multitorch.tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _PackedFields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_PackedFields):
    """The steps of a batch of sequences, one after the other, each with those still running.

    `batch_sizes` says how many run at each step; the sequences stand in order of falling length,
    `sorted_indices` being their places in the original batch.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Any = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> Self:
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence and "
                "pack_padded_sequences in nn.utils.rnn. "
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast the data; the indices follow its device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        moved = (
            None if i is None else i.to(data.device)
            for i in (self.sorted_indices, self.unsorted_indices)
        )  # fmt: skip
        return type(self)(data, self.batch_sizes, *moved)

    def cpu(self) -> Self:
        """Move to the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda") -> Self:
        """Move to a CUDA device."""
        return self.to(device)

    def double(self) -> Self:
        """Cast to float64."""
        return self.to(dtypes.float64)

    def float(self) -> Self:
        """Cast to float32."""
        return self.to(dtypes.float32)

    def half(self) -> Self:
        """Cast to float16."""
        return self.to(dtypes.float16)

    def long(self) -> Self:
        """Cast to int64."""
        return self.to(dtypes.int64)

    def int(self) -> Self:
        """Cast to int32."""
        return self.to(dtypes.int32)

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a CUDA device."""
        return self.data.device.type == "cuda"

    def is_pinned(self) -> bool:
        """Whether the data lies in page-locked memory."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Return the permutation that undoes another."""
    return None if permutation is None else permutation.argsort()


def _lengths_of(sequences: Sequence[Tensor]) -> list[int]:
    return [s.shape[0] for s in sequences]


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch (time, batch, *) of the given lengths.

    With `enforce_sorted` the lengths must fall; without it the sequences are sorted here.
    """
    if isinstance(lengths, Tensor) and lengths.device.type != "cpu":
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.dim()}D {lengths.device} tensor"
        )
    sizes = [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]
    x = input.transpose(0, 1) if batch_first else input
    _check_lengths(sizes, x)
    order = None
    if not enforce_sorted:
        places = sorted(range(len(sizes)), key=lambda i: -sizes[i])
        order = tensor(places, dtype=dtypes.int64, device=input.device)
        sizes = [sizes[i] for i in places]
        x = x.index_select(1, order)
    elif any(a < b for a, b in zip(sizes, sizes[1:], strict=False)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    running = [sum(n > t for n in sizes) for t in range(sizes[0])]
    places = [t * len(sizes) + b for t, k in enumerate(running) for b in range(k)]
    flat = x.reshape(-1, *x.shape[2:])
    data = flat.index_select(0, tensor(places, dtype=dtypes.int64, device=input.device))
    return PackedSequence(data, tensor(running, dtype=dtypes.int64), order, None)


def _check_lengths(sizes: list[int], x: Tensor) -> None:
    if not x.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    if len(sizes) != x.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} "
            f"(batch_size={x.shape[1]})"
        )
    if min(sizes) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if max(sizes) > x.shape[0]:
        raise RuntimeError(
            f"Expected lengths of at most {x.shape[0]}, the number of steps, but got {max(sizes)}"
        )


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the padded batch (time, batch, *) and the lengths."""
    running = sequence.batch_sizes.tolist()
    steps = len(running)
    if total_length is not None and total_length < steps:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, "
            f"but got total_length={total_length} and max sequence length being {steps}"
        )
    batch, data = running[0], sequence.data
    pad = data.shape[0]  # the place of the row of padding
    firsts = [sum(running[:t]) for t in range(steps)]
    rows = [
        firsts[t] + b if t < steps and b < running[t] else pad
        for t in range(total_length or steps)
        for b in range(batch)
    ]
    filler = data.new_full((1, *data.shape[1:]), padding_value)
    index = tensor(rows, dtype=dtypes.int64, device=data.device)
    out = cat([data, filler]).index_select(0, index).view(-1, batch, *data.shape[1:])
    lengths = [sum(k > b for k in running) for b in range(batch)]
    order = sequence.unsorted_indices
    if order is not None:
        out = out.index_select(1, order)
        lengths = [lengths[i] for i in order.tolist()]
    out = out.transpose(0, 1) if batch_first else out
    return out, tensor(lengths, dtype=dtypes.int64)


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences (time, *) of different lengths, padded at one side.

    >>> import multitorch as torch
    >>> parts = [torch.tensor([1, 2, 3]), torch.tensor([4])]
    >>> torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    parts = list(sequences.unbind(0) if isinstance(sequences, Tensor) else sequences)
    if not parts:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("right", "left"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    steps = max(_lengths_of(parts))
    padded = []
    for part in parts:
        short = steps - part.shape[0]
        if short:
            filler = part.new_full((short, *part.shape[1:]), padding_value)
            part = cat([part, filler] if padding_side == "right" else [filler, part])
        padded.append(part)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """Return the sequences of a padded batch."""
    batch = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    sizes = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    return [part[:n] for part, n in zip(batch.unbind(0), sizes, strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (time, *)."""
    lengths = tensor(_lengths_of(sequences), dtype=dtypes.int64)
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return the sequences that were packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
