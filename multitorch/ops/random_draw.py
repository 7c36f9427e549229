"""Draws as tensors: from the CPU's stream on the host, or from a key on the device.

`order` lists the dimensions of the result from slowest to fastest in memory, because PyTorch's CPU
stream runs through memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.device import CPU, device
from multitorch.dtypes import dtype as DType
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import wrap
from multitorch.ops.op import op
from multitorch.random.cpu_stream import CPUStream
from multitorch.random.generator import (
    Draw,
    Generator,
    bind_to_tensor,
    draws_cpu_stream,
    pick,
)

Shape = tuple[int, ...]
Order = tuple[int, ...] | None

bind_to_tensor(lambda a: wrap(a, CPU))


def _as_asked(*operands: Any, shape: Shape, dtype: np.dtype) -> tuple[Shape, np.dtype]:
    return shape, np.dtype(dtype)


random_bits = op("random_bits", "seed draw", shape=_as_asked).nondiff()
random_uniform = op("random_uniform", "seed draw low high", shape=_as_asked).nondiff()
random_normal = op("random_normal", "seed draw mean std", shape=_as_asked).nondiff()
random_bernoulli = op("random_bernoulli", "seed draw p", shape=_as_asked).nondiff()
random_integers = op("random_integers", "seed draw low span", shape=_as_asked).nondiff()
random_permutation = op(
    "random_permutation",
    "seed draw",
    shape=lambda seed, draw, *, n, dtype: ((n,), np.dtype(dtype)),
).nondiff()


def draw(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    on_host: Callable[[CPUStream, Shape], np.ndarray],
    on_device: Callable[..., Any],
    order: Order = None,
) -> Any:
    """Return a tensor made by `on_host(stream, shape)` or by `on_device(seed, draw)`."""
    if dev.type == "meta":
        raw = dev.backend.full(0, shape=shape, dtype=d.numpy(), type=dev.type, index=dev.ordinal)
        return wrap(raw, dev)
    g = pick(generator, dev)
    if not draws_cpu_stream(dev):
        return on_device(*_key(g, dev))

    def values() -> np.ndarray:
        if order is None:
            return on_host(g.stream, shape)
        drawn = on_host(g.stream, tuple([shape[i] for i in order]))
        return drawn.transpose(np.argsort(order))

    t = put(values(), dev)
    world = dispatch.world_for(dev)
    if world.records:
        backend, at = dev.backend, {"type": dev.type, "index": dev.ordinal}
        world.redraw(t, lambda: backend.put(values(), **at))
    return t


def put(a: np.ndarray, dev: device) -> Any:
    """Make a tensor on a device of a host array."""
    return wrap(dev.backend.put(a, type=dev.type, index=dev.ordinal), dev)


def memory_order(x: Any) -> tuple[Order, bool]:
    """Return the order of a tensor's dimensions in memory, and whether it is contiguous."""
    flags = getattr(x._a, "flags", None)
    if x.is_contiguous() if flags is None else flags.c_contiguous:
        return None, True
    strides = x.stride()
    order = tuple(sorted(range(len(strides)), key=lambda i: -strides[i]))
    return (None if order == tuple(range(len(order))) else order), False


def is_dense(x: Any) -> bool:
    """Whether a tensor's elements fill a block of memory, in whatever order of dimensions."""
    expected = 1
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def key_of(g: Generator, dev: device) -> Any:
    """Return a generator's seed as a tensor on the device that draws."""
    if g.key is None or g.key._dev is not dev:
        g.key = put(g.seed_words(), dev)
    return g.key


def _key(g: Generator, dev: device) -> tuple[Any, int]:
    """Return what the device draws from: the seed, which stays there, and the draw's number."""
    return key_of(g, dev), Draw.of(g) if dispatch.capturing else g.next_draw()


def _work(d: DType) -> DType:
    return dtypes.float64 if d is dtypes.float64 else dtypes.float32


# --- distributions


def uniform(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    low: float = 0.0,
    high: float = 1.0,
    order: Order = None,
) -> Any:
    """Draw from [low, high)."""
    if not d.inexact or d.itemsize == 1:
        raise not_implemented("check_uniform_bounds", d)
    np_dtype = d.numpy()
    return draw(
        generator, dev, shape, d,
        lambda stream, shape: stream.uniform(shape, np_dtype, low, high),
        lambda *key: random_uniform(*key, low, high, shape=shape, dtype=np_dtype),
        order,
    )  # fmt: skip


def normal(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    mean: float = 0.0,
    std: float = 1.0,
    order: Order = None,
    contiguous: bool = True,
) -> Any:
    """Draw from N(mean, std²)."""
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    if not d.inexact or d.itemsize == 1:
        raise not_implemented("normal_kernel_cpu", d)
    np_dtype = d.numpy()
    return draw(
        generator, dev, shape, d,
        lambda stream, shape: stream.normal(shape, np_dtype, mean, std, contiguous=contiguous),
        lambda *key: random_normal(*key, float(mean), float(std), shape=shape, dtype=np_dtype),
        order,
    )  # fmt: skip


def bernoulli(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    p: float,
    order: Order = None,
) -> Any:
    """Draw 1 with one probability, 0 otherwise."""
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    np_dtype = d.numpy()
    return draw(
        generator, dev, shape, d,
        lambda stream, shape: stream.bernoulli(shape, p, np_dtype),
        lambda *key: random_bernoulli(*key, float(p), shape=shape, dtype=np_dtype),
        order,
    )  # fmt: skip


def bernoulli_each(
    generator: Generator | None, shape: Shape, d: DType, probs: Any, order: Order = None
) -> Any:
    """Draw 1 with a probability for each element; `probs` is a tensor that broadcasts."""
    dev = probs._dev
    if not probs._dtype.is_floating_point:
        raise not_implemented("bernoulli_tensor_cpu_p_", probs._dtype)
    if dev.type == "meta":
        return draw(generator, dev, shape, d, _never, _never)
    probs = probs.detach()
    if draws_cpu_stream(dev):
        if dev is CPU and not dispatch.capturing:
            _check_probabilities(probs._a)
        work = _work(probs._dtype)
        return (uniform(generator, dev, shape, work, order=order) < probs.to(work)).to(d)
    key = _key(pick(generator, dev), dev)
    return random_bernoulli(*key, probs, shape=shape, dtype=d.numpy())


def _never(*args: Any) -> Any:
    raise AssertionError("nothing is drawn for meta tensors")


def _check_probabilities(p: np.ndarray) -> None:
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")


def integers(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    low: int,
    high: int,
    order: Order = None,
) -> Any:
    """Draw integers from [low, high), as any dtype that is not complex."""
    np_dtype = d.numpy()
    if d in EXACT_INTEGERS:
        low, high = _representable(low, high, d)
    span = high - low

    def on_device(*key: Any) -> Any:
        small = -(1 << 31) <= low and high <= 1 << 31
        native = d if d.category == dtypes.INTEGER else dtypes.int32 if small else dtypes.int64
        # A span beyond int64 wraps around, and the kernel undoes it; 0 stands for all 2**64 values.
        signed = span - (1 << 64) if span >= 1 << 63 else span
        return random_integers(*key, low, signed, shape=shape, dtype=native.numpy()).to(d)

    return draw(
        generator, dev, shape, d,
        lambda stream, shape: stream.randint(shape, low, high, np_dtype),
        on_device,
        order,
    )  # fmt: skip


def _representable(low: int, high: int, d: DType) -> tuple[int, int]:
    """Move bounds that rounding would carry out of [low, high) to the next float inside it."""
    digits = EXACT_INTEGERS[d].bit_length() - 1
    above, below = [int(np.array(b, np.float64).astype(d.np)) for b in (low + 1, high - 1)]
    if above < low:
        low = above + (1 << (abs(low + 1).bit_length() - digits))
    if below >= high:
        high = below - (1 << (abs(high - 1).bit_length() - digits))
    if low >= high:
        raise RuntimeError(
            "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got "
            f"from={low} >= to={high}"
        )
    return low, high


# Largest value that `random_()` draws, for floating dtypes: integers are exact up to it.
EXACT_INTEGERS = {
    dtypes.float64: 1 << 53,
    dtypes.float32: 1 << 24,
    dtypes.float16: 1 << 11,
    dtypes.bfloat16: 1 << 8,
}


def all_integers(
    generator: Generator | None, dev: device, shape: Shape, d: DType, order: Order = None
) -> Any:
    """Draw from 0 to the largest integer that the dtype holds exactly."""
    if d.is_complex or d.itemsize == 1 and d.inexact:
        raise not_implemented("random_kernel_cpu", d)
    if not draws_cpu_stream(dev):
        top = EXACT_INTEGERS.get(d) or (1 if d is dtypes.bool_ else dtypes.iinfo(d).max)
        return integers(generator, dev, shape, d, 0, top + 1, order)
    np_dtype = d.numpy()
    on_host = lambda stream, shape: stream.random_full(shape, np_dtype)  # noqa: E731
    return draw(generator, dev, shape, d, on_host, _never, order)


def exponential(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    rate: float = 1.0,
    order: Order = None,
) -> Any:
    """Draw from rate · exp(-rate · x)."""
    np_dtype, work = d.numpy(), _work(d).numpy()
    return draw(
        generator, dev, shape, d,
        lambda stream, shape: stream.exponential(shape, np_dtype, rate),
        lambda *key: (_open_unit(key, shape, work).log() * (-1.0 / rate)).to(d),
        order,
    )  # fmt: skip


def _open_unit(key: tuple, shape: Shape, work: np.dtype) -> Any:
    """Draw from (0, 1] on the device."""
    return 1 - random_uniform(*key, 0.0, 1.0, shape=shape, dtype=work)


def geometric(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    p: float,
    order: Order = None,
) -> Any:
    """Draw the number of the first success."""
    np_dtype, work = d.numpy(), _work(d).numpy()
    scale = 1.0 / np.log1p(-p)
    return draw(
        generator, dev, shape, d,
        lambda stream, shape: stream.geometric(shape, np_dtype, p),
        lambda *key: (_open_unit(key, shape, work).log() * scale).ceil().clamp(min=1).to(d),
        order,
    )  # fmt: skip


def log_normal(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    mean: float,
    std: float,
    order: Order = None,
) -> Any:
    """Draw exp of N(mean, std²)."""
    np_dtype, work = d.numpy(), _work(d).numpy()
    return draw(
        generator, dev, shape, d,
        lambda stream, shape: stream.log_normal(shape, np_dtype, mean, std),
        lambda *key: random_normal(*key, mean, std, shape=shape, dtype=work).exp().to(d),
        order,
    )  # fmt: skip


def cauchy(
    generator: Generator | None,
    dev: device,
    shape: Shape,
    d: DType,
    median: float,
    sigma: float,
    order: Order = None,
) -> Any:
    """Draw from the Cauchy distribution."""
    np_dtype, work = d.numpy(), _work(d).numpy()

    def on_device(*key: Any) -> Any:
        angle = random_uniform(*key, -np.pi / 2, np.pi / 2, shape=shape, dtype=work)
        return (angle.tan() * sigma + median).to(d)

    return draw(
        generator, dev, shape, d,
        lambda stream, shape: stream.cauchy(shape, np_dtype, median, sigma),
        on_device,
        order,
    )  # fmt: skip


def not_implemented(kernel: str, d: DType) -> NotImplementedError:
    return NotImplementedError(f"\"{kernel}\" not implemented for '{d.scalar_name}'")
