"""Memory that NumPy and XLA share: host arrays that programs read and update where they lie.

The memory belongs to XLA. NumPy's array has a `SharedMemory` as its base, which keeps the JAX array
alive that XLA knows the memory by. A program to which that array is donated updates the memory in
place, and returns a new JAX array for it; NumPy's array, its views and whoever holds them stay.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from sys import getrefcount
from threading import RLock
from typing import Any

import jax
import numpy as np

from multitorch_jax.jit import x64
from multitorch_jax.program import Program

_ALIGNMENT = 64
_in_turn = RLock()
"""Held while a program runs: another thread's must not meet a JAX array that is being replaced."""
_WORTH_SHARING = 1 << 16
"""Bytes from which on a result's memory is taken over: to copy fewer takes less time."""


class SharedMemory:
    """The base of a NumPy array whose memory is that of a JAX array."""

    array: Any = None


@lru_cache(1024)
def _memory_type(size: int) -> Any:
    plain: Any = ctypes.c_char * size
    return type(plain)("SharedMemory", (SharedMemory, plain), {})


def share(array: Any) -> np.ndarray:
    """Return a writable NumPy array over a JAX array's memory, which nobody else may use."""
    memory = _memory_type(array.nbytes).from_address(array.unsafe_buffer_pointer())
    memory.array = array
    return np.ndarray(array.shape, array.dtype, memory)


def memory_of(a: Any) -> Any:
    """Return the shared memory that an array is the whole of, None if there is none."""
    # what NumPy makes of such an array, a view of all of it included, has the array as its base
    base = a.base if a.__class__ is np.ndarray else None
    return base if isinstance(base, SharedMemory) else None


def _owner_of(a: np.ndarray) -> Any:
    """Return the memory that a view looks at, if it is shared."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return memory_of(a)


def address(a: np.ndarray) -> int:
    """Return where an array's elements begin."""
    return a.__array_interface__["data"][0]


def _misaligned(a: np.ndarray) -> np.ndarray:
    """Return a copy at an address that XLA cannot use as it is."""
    room = np.empty(a.nbytes + 2 * _ALIGNMENT, np.uint8)
    start = -address(room) % _ALIGNMENT + 8
    copy = room[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    np.copyto(copy, a)
    return copy


def to_xla(a: np.ndarray, device: Any) -> Any:
    """Return a copy of an array in XLA's own memory."""
    # not `device_put(a, device)`: its results are bound to a device, those of programs are not
    with x64(True), jax.default_device(device):
        return jax.device_put(_misaligned(a)).block_until_ready()


def settle(a: np.ndarray, device: Any) -> np.ndarray:
    """Return an array to which nobody else refers, moved to memory that is shared with XLA."""
    if a.size and a.flags.c_contiguous and a.flags.writeable and _has_memory_alone(a):
        return share(to_xla(a, device))
    return a


def _has_memory_alone(a: np.ndarray) -> bool:
    """Whether no array but this one refers to the whole of the memory that it lies in."""
    size = a.nbytes
    while a.base is not None:
        if a.base.__class__ is not np.ndarray or _references_to_base(a) != _ONE:
            return False
        a = a.base
    return a.flags.owndata and a.nbytes == size


def _references_to_base(a: np.ndarray) -> int:
    return getrefcount(a.base)


_ONE = _references_to_base(np.empty(2)[:1])
"""What there are if the base has one view, and nobody else refers to it."""


class HostProgram(Program):
    """A program on NumPy's arrays, which XLA:CPU updates in place where the memory is shared.

    Donated is what outputs replace: the first output the first donated input, and so on.
    """

    keep_unused = True  # the memory of a state that is only overwritten is updated, too

    def __init__(self, world: Any, graph: Any, device: Any, donated: tuple[int, ...] = ()) -> None:
        super().__init__(world, graph, device, donated)
        self._in_place: dict[tuple, list[bool]] = {}
        """By the kinds of what is not donated, once it ran: which states keep their memory."""
        # a callback that fails would leave no states behind
        self._updates = not any(_calls_back(world, call) for call in graph.calls)

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """Return the outputs; the first are the arrays that were donated, with new values."""
        return [*self._pick_states(values), *self.update(values)[len(self.donated) :]]

    def update(
        self, values: Sequence[Any], targets: Sequence[Any] = (), name: str = "array"
    ) -> list[Any]:
        """Overwrite the donated arrays; return the outputs, None for those that are in them."""
        arrays = self._pick_states(values)
        with _in_turn:
            outputs = self._run(arrays, self._pick_rest(values))
        count = len(arrays)
        taken: set[int] = set()
        if any(o.nbytes >= _WORTH_SHARING for o in outputs[count:]):
            taken.update(address(v) for v in values if v.__class__ is np.ndarray)
        return [None] * count + [_host_array(o, taken) for o in outputs[count:]]

    def _run(self, arrays: Sequence[Any], given: Sequence[Any]) -> list[Any]:
        memories = [memory_of(a) for a in arrays]
        rest = [_readable(v, memories) for v in given]
        kinds = tuple([v.__class__ is np.ndarray for v in rest])
        known = self._in_place.get(kinds)
        if known is None or None in memories or not all(known):
            return self._try(arrays, memories, rest, kinds)
        return self._overwrite(arrays, memories, rest)

    def _overwrite(self, arrays: Sequence[Any], memories: list[Any], rest: list[Any]) -> list[Any]:
        """Run on states whose memory is all shared; return the outputs."""
        states = [m.array for m in memories]
        outputs = jax.block_until_ready(self._run_into(memories, "array", states, rest))
        # under jax.disable_jit nothing is donated: one state tells
        if memories and _place(outputs[0]) != address(arrays[0]):
            for memory, array, state, output in zip(
                memories, arrays, states, outputs, strict=False
            ):
                _put_back(memory, array, state, output)
        return outputs

    def _try(
        self, arrays: Sequence[Any], memories: list[Any], rest: list[Any], kinds: tuple
    ) -> list[Any]:
        """Run on copies of what is not, or cannot be, updated in place; return the outputs."""
        known = self._in_place.get(kinds, [False] * len(memories))
        kept = [m if ok else None for m, ok in zip(memories, known, strict=True)]
        pairs = list(zip(arrays, kept, strict=True))
        states = [to_xla(a, self._device) if m is None else m.array for a, m in pairs]
        places = [_place(s) for s in states]
        targets = [SharedMemory() if m is None else m for m in kept]
        outputs = jax.block_until_ready(self._run_into(targets, "array", states, rest))
        moved = [_place(o) != place for o, place in zip(outputs, places, strict=False)]
        self._in_place.setdefault(kinds, [self._updates and not m for m in moved])
        for k, (array, memory) in enumerate(pairs):
            if memory is None:
                np.copyto(array, outputs[k])
            elif moved[k]:
                _put_back(memory, array, states[k], outputs[k])
        return outputs


def _calls_back(world: Any, call: Any) -> bool:
    return getattr(getattr(world, call.name), "host", False)


def _place(array: Any) -> int:
    return array.unsafe_buffer_pointer()


def _put_back(memory: SharedMemory, array: np.ndarray, state: Any, output: Any) -> None:
    """Copy an output that XLA put elsewhere to the memory that it should have updated."""
    if state.is_deleted():
        raise RuntimeError("XLA moved a state that it was to update in place")
    memory.array = state
    np.copyto(array, output)


def _readable(value: Any, memories: list[Any]) -> Any:
    """Return an input in a form that XLA can read while it writes to some memories."""
    if value.__class__ is not np.ndarray or value.base is None:
        return value
    if isinstance(value.base, SharedMemory):
        return value.base.array
    owner = _owner_of(value)
    return np.array(value) if owner is not None and owner in memories else value


def _host_array(output: Any, taken: set[int]) -> np.ndarray:
    """Return an output as an array of NumPy's; addresses in `taken` are other arrays'."""
    if output.nbytes < _WORTH_SHARING or _place(output) in taken:
        return np.array(output)
    taken.add(_place(output))
    return share(output)
