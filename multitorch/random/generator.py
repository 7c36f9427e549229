"""`Generator`: a seed, a device, and the stream of numbers that belongs to them.

On "cpu" it is PyTorch's Mersenne Twister (`CPUStream`). On other devices a draw is told the seed
and its own number, and the device derives its values from these two alone: no state travels, draws
do not depend on each other, and every XLA device answers the same.
`use_cpu_stream(True)` makes every device draw the CPU's numbers instead, on the host.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np

from multitorch.device import CPU, device
from multitorch.random.cpu_stream import DEFAULT_SEED, STATE_SIZE, CPUStream

_KEYED_STATE = struct.Struct("<QQ")  # seed, offset: what PyTorch's CUDA generator saves, too
_U64 = 0xFFFFFFFFFFFFFFFF
_MOST_DRAWS = (1 << 63) - 1

to_tensor: Callable[[np.ndarray], Any] = lambda a: a  # noqa: E731 (bound by multitorch.ops.random)


def bind_to_tensor(wrap: Callable[[np.ndarray], Any]) -> None:
    """Tell this module how a state becomes a tensor on cpu."""
    global to_tensor
    to_tensor = wrap


class Generator:
    """A stream of random numbers: `Generator(device="cpu")`.

    >>> g = Generator().manual_seed(0)
    >>> g.initial_seed()
    0
    """

    __slots__ = ("__weakref__", "_device", "_offset", "_seed", "_stream", "key")
    key: Any
    """The seed as an array on the device, once something was drawn there."""

    def __init__(self, device: Any = "cpu") -> None:
        self._device = _canonical(device)
        self._restart(DEFAULT_SEED)

    def _restart(self, seed: int) -> None:
        self._seed, self._offset = seed, 0
        self._stream: CPUStream | None = None
        self.key = None

    @property
    def device(self) -> device:
        """The device whose tensors this generator fills."""
        return self._device

    # --- seed and state

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` (-2**63 to 2**64 - 1); return the generator."""
        self._restart(_checked_seed(seed))
        return self

    def initial_seed(self) -> int:
        """Return the seed in use as an unsigned 64-bit number."""
        return self._seed

    def seed(self) -> int:
        """Start at a seed drawn from the operating system, and return it."""
        self._restart(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def get_state(self) -> Any:
        """Return the state as a uint8 tensor on cpu: on "cpu" the 5056 bytes that PyTorch saves.

        Elsewhere 16 bytes, the seed and the offset, unless the CPU's stream was drawn from it.
        """
        if self._draws_words():
            return to_tensor(self.stream.get_state())
        raw = _KEYED_STATE.pack(self._seed, self._offset)
        return to_tensor(np.frombuffer(raw, np.uint8).copy())

    def set_state(self, new_state: Any) -> None:
        """Continue from a state saved by `get_state`, or by PyTorch on cpu."""
        state = new_state if isinstance(new_state, np.ndarray) else _bytes_of(new_state)
        if state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if self._device is CPU or state.size == STATE_SIZE:
            stream = CPUStream(self._seed)
            stream.set_state(state)
            self._restart(stream.initial_seed)
            self._stream = stream
        elif state.size == _KEYED_STATE.size:
            seed, offset = _KEYED_STATE.unpack(state.tobytes())
            self._restart(seed)
            self._offset = offset
        else:
            raise RuntimeError("RNG state is wrong size")

    def get_offset(self) -> int:
        """Return how many draws this seed has served; "cpu" has no offset."""
        self._needs_offset()
        return self._offset

    def set_offset(self, offset: int) -> None:
        """Continue as if `offset` draws had been made; "cpu" has no offset."""
        self._needs_offset()
        self._offset = offset & _MOST_DRAWS

    def clone_state(self) -> Generator:
        """Return a new generator in the same state."""
        other = Generator(self._device)
        other.set_state(self.get_state())
        return other

    graphsafe_get_state = clone_state

    def graphsafe_set_state(self, state: Generator) -> None:
        """Continue from the state of another generator."""
        self.set_state(state.get_state())

    def _draws_words(self) -> bool:
        return self._device is CPU or self._stream is not None

    def _needs_offset(self) -> None:
        if self._device is CPU:
            raise RuntimeError("CPU Generator does not use offset")

    def __reduce__(self) -> tuple:
        state = self.get_state()
        return _rebuild, (self._device, state if isinstance(state, np.ndarray) else state.numpy())

    # --- draws

    @property
    def stream(self) -> CPUStream:
        """The CPU stream of this seed, made at its first use."""
        found = self._stream
        if found is None:
            found = self._stream = CPUStream(self._seed)
        return found

    def seed_words(self) -> np.ndarray:
        """Return the seed as two uint32, the low one first: the key of draws on a device."""
        return np.array([self._seed], "<u8").view("<u4")

    def next_draw(self, count: int = 1) -> int:
        """Return the number of the next draw, the first of `count`."""
        offset = self._offset
        self._offset = (offset + count) & _MOST_DRAWS
        return offset

    def bookmark(self) -> Callable[[], None]:
        """Return a function that brings the generator back to where it is now."""
        seed, offset, key = self._seed, self._offset, self.key
        words = None if self._stream is None else self._stream.get_state()

        def go_back() -> None:
            self._restart(seed)
            self._offset, self.key = offset, key
            if words is not None:
                self.stream.set_state(words)

        return go_back


class Draw(int):
    """The number of a draw that is being recorded, with the generator that gave it."""

    generator: Generator
    count = 1
    """How many draws it stands for: a loop's are numbered from one of all its steps."""

    @classmethod
    def of(cls, generator: Generator) -> Draw:
        """Take the next number of a generator."""
        draw = cls(generator.next_draw())
        draw.generator = generator
        return draw


def _rebuild(device: Any, state: np.ndarray) -> Generator:
    generator = Generator(device)
    generator.set_state(state)
    return generator


def _canonical(spec: Any) -> device:
    # The backend of an accelerator is not asked before something is drawn.
    dev = device(spec)
    if dev.type == "meta":
        raise RuntimeError("META device type not an accelerator.")
    return dev if dev is CPU else dev.canonical()


def _checked_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
    if not -(1 << 63) <= seed <= _U64:
        raise ValueError("Overflow when unpacking long long")
    return int(seed) & _U64


def _bytes_of(state: Any) -> np.ndarray:
    if not hasattr(state, "numpy"):
        raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
    return state.numpy()


# --- the generators that draws without `generator=` use


default_generator = Generator(CPU)
default_generator.seed()
_device_defaults: dict[device, Generator] = {}
_device_seed = default_generator.initial_seed()


def default_for(dev: device) -> Generator:
    """Return the default generator of a canonical device."""
    if dev is CPU:
        return default_generator
    found = _device_defaults.get(dev)
    if found is None:
        found = _device_defaults[dev] = Generator(dev)
        found.manual_seed(_device_seed)
    return found


def seed_devices(seed: int) -> None:
    """Seed the default generators of all devices other than cpu, the ones not yet made included."""
    global _device_seed
    _device_seed = _checked_seed(seed)
    for generator in _device_defaults.values():
        generator.manual_seed(seed)


class use_cpu_stream:  # noqa: N801 (called as a function)
    """Let every device draw PyTorch's CPU stream, from now on or within a `with` block.

    Draws are then made on the host and moved: right for tests and for comparing devices, slow
    for large masks on an accelerator. Draws without `generator=` take the generator of "cpu".

    >>> with use_cpu_stream():
    ...     pass
    """

    enabled = False

    def __init__(self, enabled: bool = True) -> None:
        self._before = use_cpu_stream.enabled
        use_cpu_stream.enabled = bool(enabled)

    def __enter__(self) -> use_cpu_stream:
        return self

    def __exit__(self, *exc: object) -> None:
        use_cpu_stream.enabled = self._before


on_pick: dict[int, Callable[[Generator], None]] = {}
"""By thread: who is told which generator the next draw takes, before it is made."""


def pick(generator: Generator | None, dev: device) -> Generator:
    """Return the generator that a draw for `dev` uses; check the one that the caller gave."""
    global _draws
    _draws += 1
    picked = _pick(generator, dev)
    if on_pick and (told := on_pick.get(get_ident())) is not None:
        told(picked)
    return picked


def _pick(generator: Generator | None, dev: device) -> Generator:
    if generator is None:
        return default_generator if use_cpu_stream.enabled else default_for(dev)
    if not isinstance(generator, Generator):
        raise TypeError(
            "received an invalid combination of arguments - argument 'generator' must be "
            f"torch.Generator or None, not {type(generator).__name__}"
        )
    if generator._device.type != dev.type and not use_cpu_stream.enabled:
        raise RuntimeError(
            f"Expected a '{dev.type}' device type for generator but found "
            f"'{generator._device.type}'"
        )
    return generator


_draws = 0


def draw_count() -> int:
    """Return how many draws were made so far: who sees it move knows that code is random."""
    return _draws


def draws_cpu_stream(dev: device) -> bool:
    """Whether random numbers for a device come from the CPU's stream, made on the host."""
    return (dev is CPU and not keyed_draws.depth) or use_cpu_stream.enabled


class keyed_draws:  # noqa: N801 (used as a function)
    """The block in which "cpu", too, draws from a key: a program is recorded for other hardware."""

    depth = 0

    def __enter__(self) -> None:
        keyed_draws.depth += 1

    def __exit__(self, *exc: object) -> None:
        keyed_draws.depth -= 1


class Snapshot:
    """The states of default generators, to be put back."""

    def __init__(self, devices: list[device]) -> None:
        self._states = [(dev, default_for(dev).get_state()) for dev in (CPU, *devices)]
        self._known = set(_device_defaults)
        self._seed = _device_seed

    def restore(self, every: bool) -> None:
        """Put the states back; `every`: generators made since then start anew."""
        global _device_seed
        for dev, state in self._states:
            default_for(dev).set_state(state)
        if every:
            _device_seed = self._seed
            for dev in set(_device_defaults) - self._known:
                del _device_defaults[dev]


def known_devices() -> list[device]:
    """Return the devices other than cpu that have a default generator."""
    return list(_device_defaults)
