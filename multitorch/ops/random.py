"""Random tensors: `rand`, `randn`, `randint`, `randperm`, `normal`, `bernoulli`, `multinomial`, …

On "cpu" the numbers are PyTorch's (see `multitorch.random.cpu_stream`); on other devices they come
from a counter-based generator, unless `multitorch.random.use_cpu_stream` is on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.device import CPU, resolve
from multitorch.dtypes import dtype as DType
from multitorch.ops import apply as dispatch
from multitorch.ops import random_draw as draws
from multitorch.ops import random_fill
from multitorch.ops.apply import broadcast_shape, wrap, write_out
from multitorch.ops.random_draw import (
    draw,
    is_dense,
    memory_order,
    not_implemented,
    random_permutation,
)
from multitorch.ops.random_fill import check_range, index_of
from multitorch.random import rejection
from multitorch.random.generator import Generator, draws_cpu_stream, pick

Shape = tuple[int, ...]


# --- arguments


def _size(function: str, args: tuple, size: Any) -> Shape:
    """Return the shape that `f(2, 3)`, `f((2, 3))` or `f(size=(2, 3))` asks for."""
    if size is None:
        if not args:
            raise TypeError(f"{function}() received an invalid combination of arguments - got ()")
        size = args[0] if len(args) == 1 and not hasattr(args[0], "__index__") else args
        if len(args) == 1 and isinstance(args[0], dispatch.Tensor):
            size = args if args[0].ndim == 0 else args[0].tolist()
    if isinstance(size, str) or not hasattr(size, "__iter__"):
        raise TypeError(
            f"{function}(): argument 'size' (position {max(len(args), 1)}) must be tuple of ints, "
            f"not {type(size).__name__}"
        )
    shape = tuple([_one_size(function, i, n) for i, n in enumerate(size)])
    if any(n < 0 for n in shape):
        least = min(shape)
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {least}: {list(shape)}"
        )
    return shape


def _one_size(function: str, i: int, n: Any) -> int:
    try:
        return n.__index__()
    except (AttributeError, TypeError):
        raise TypeError(
            f"{function}(): argument 'size' failed to unpack the object at pos {i + 1} with error "
            f'"type must be tuple of ints,but got {type(n).__name__}"'
        ) from None


def _options(out: Any, dtype: Any, device: Any, default: DType | None = None) -> tuple[DType, Any]:
    """Return the dtype and the device of a new tensor."""
    if out is None:
        d = default or dtypes.get_default_dtype() if dtype is None else dtypes.to_dtype(dtype)
        return d, resolve(device)
    if dtype is not None and dtypes.to_dtype(dtype) is not out._dtype:
        raise RuntimeError(
            f"dtype {dtypes.to_dtype(dtype).scalar_name} does not match dtype of out parameter "
            f"({out._dtype.scalar_name})"
        )
    return out._dtype, out._dev


def _finish(t: Any, out: Any, requires_grad: bool) -> Any:
    if requires_grad:
        if not t._dtype.inexact:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        t.requires_grad_()
    return t if out is None else write_out(out, t)


# --- tensors of a given size


def _sized(name: str, distribution: Callable, doc: str) -> Callable:
    def function(
        *args: Any,
        size: Any = None,
        generator: Generator | None = None,
        out: Any = None,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
    ) -> Any:
        d, dev = _options(out, dtype, device)
        t = distribution(generator, dev, _size(name, args, size), d)
        return _finish(t, out, requires_grad)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


rand = _sized(
    "rand",
    draws.uniform,
    """Return draws from [0, 1): `rand(*size, generator=None, dtype=None, device=None, …)`.

    >>> _ = multitorch.manual_seed(0)
    >>> multitorch.rand(3)
    tensor([0.4963, 0.7682, 0.0885])
    """,
)
randn = _sized(
    "randn",
    draws.normal,
    """Return draws from N(0, 1), as `rand` does; of a complex dtype, with total variance 1.

    >>> _ = multitorch.manual_seed(0)
    >>> multitorch.randn(3)
    tensor([ 1.5410, -0.2934, -2.1788])
    """,
)


def randint(
    *args: Any,
    low: Any = None,
    high: Any = None,
    size: Any = None,
    generator: Generator | None = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Return integers from [low, high): `randint(low=0, high, size, *, …)`.

    >>> _ = multitorch.manual_seed(0)
    >>> multitorch.randint(3, 10, (4,))
    tensor([7, 6, 3, 5])
    """
    bounds = list(args)
    if size is None:
        if len(bounds) < 2 and (high is None or not bounds):
            raise TypeError(
                "randint() received an invalid combination of arguments - expected "
                "(int high, tuple of ints size) or (int low, int high, tuple of ints size)"
            )
        size = bounds.pop()
        if not hasattr(size, "__iter__") or isinstance(size, dispatch.Tensor) and not size.ndim:
            raise TypeError(
                f"randint(): argument 'size' (position {len(args)}) must be tuple of ints, not "
                f"{type(size).__name__}"
            )
    least, most = _randint_bounds("randint", bounds, low, high)
    d, dev = _options(out, dtype, device, dtypes.int64)
    check_range(least, most, d)
    t = draws.integers(generator, dev, _size("randint", (), size), d, least, most)
    return _finish(t, out, requires_grad)


def _randint_bounds(function: str, bounds: list[Any], low: Any, high: Any) -> tuple[int, int]:
    position = max(len(bounds), 1)
    if len(bounds) == 2:
        low, high = bounds
    elif len(bounds) == 1 and high is None:
        high = bounds[0]
    elif len(bounds) == 1:
        low = bounds[0]
    if high is None:
        raise TypeError(f'{function}() missing required positional argument: "high"')
    low = 0 if low is None else low
    return index_of(function, "low", 1, low), index_of(function, "high", position, high)


def randperm(
    n: Any,
    *,
    generator: Generator | None = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Return a random permutation of 0 … n-1.

    >>> _ = multitorch.manual_seed(0)
    >>> multitorch.randperm(5)
    tensor([4, 0, 1, 3, 2])
    """
    n = index_of("randperm", "n", 1, n)
    d, dev = _options(out, dtype, device, dtypes.int64)
    _check_randperm(n, d)
    np_dtype = d.numpy()

    def on_device(*key: Any) -> Any:
        native = np_dtype if d.category == dtypes.INTEGER else np.dtype(np.int64)
        return random_permutation(*key, n=n, dtype=native).to(d)

    t = draw(generator, dev, (n,), d, lambda stream, _: stream.randperm(n, np_dtype), on_device)
    return _finish(t, out, requires_grad)


def _check_randperm(n: int, d: DType) -> None:
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if d is dtypes.bool_ or d.is_complex or d.itemsize == 1 and d.inexact:
        raise not_implemented("randperm", d)
    if d.inexact:
        most = draws.EXACT_INTEGERS[d] + 1
        if n > most:
            raise RuntimeError(f"n cannot be greater than {most} for {d.scalar_name} type.")
    elif n > dtypes.iinfo(d).max:
        raise RuntimeError(f"value cannot be converted to type {d.name}_t without overflow")


# --- tensors like another


def _like(x: Any, dtype: Any, device: Any) -> tuple[Shape, DType, Any, Any, bool]:
    """Return the shape, dtype, device, memory order and contiguity of a tensor like `x`."""
    d = x._dtype if dtype is None else dtypes.to_dtype(dtype)
    dev = x._dev if device is None else resolve(device)
    order, contiguous = memory_order(x)
    if not contiguous and not is_dense(x):
        contiguous = order is None
    return tuple(x.shape), d, dev, order, contiguous


def rand_like(
    input: Any,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Any:
    """Return draws from [0, 1) with the shape, dtype and device of `input`."""
    shape, d, dev, order, _ = _like(input, dtype, device)
    return _finish(draws.uniform(generator, dev, shape, d, order=order), None, requires_grad)


def randn_like(
    input: Any,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Any:
    """Return draws from N(0, 1) with the shape, dtype and device of `input`."""
    shape, d, dev, order, contiguous = _like(input, dtype, device)
    t = draws.normal(generator, dev, shape, d, order=order, contiguous=contiguous)
    return _finish(t, None, requires_grad)


def randint_like(
    input: Any,
    *args: Any,
    low: Any = None,
    high: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Any:
    """Return integers from [low, high) with the shape, dtype and device of `input`."""
    least, most = _randint_bounds("randint_like", list(args), low, high)
    shape, d, dev, order, _ = _like(input, dtype, device)
    check_range(least, most, d)
    t = draws.integers(generator, dev, shape, d, least, most, order)
    return _finish(t, None, requires_grad)


# --- distributions whose parameters are tensors


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Return draws from N(mean, std²); mean and std are tensors that broadcast, or numbers.

    >>> _ = multitorch.manual_seed(0)
    >>> multitorch.normal(10.0, 2.0, size=(2,))
    tensor([13.0820,  9.4131])
    """
    given = [t for t in (mean, std) if isinstance(t, dispatch.Tensor)]
    if given:
        return _finish(_normal_of(mean, std, given, generator, out), out, requires_grad)
    if size is None:
        raise TypeError(
            "normal() received an invalid combination of arguments - got (float, float), but two "
            "numbers need a size: normal(mean, std, size)"
        )
    d, dev = _options(out, dtype, device)
    shape = _size("normal", (), size)
    t = draws.normal(generator, dev, shape, d, float(mean), float(std))
    return _finish(t, out, requires_grad)


def _normal_of(mean: Any, std: Any, given: list[Any], generator: Any, out: Any) -> Any:
    d, dev = (given[0]._dtype, given[0]._dev) if out is None else (out._dtype, out._dev)
    shape = broadcast_shape(*[tuple(t.shape) for t in given])
    if isinstance(std, dispatch.Tensor):
        if std._dev.type != "meta" and draws_cpu_stream(dev) and not dispatch.capturing:
            if std.numel() and not bool((std >= 0).all()):
                raise RuntimeError("normal expects all elements of std >= 0.0")
        noise = draws.normal(generator, dev, shape, d)
        scaled = noise * std.detach()
    else:
        scaled = draws.normal(generator, dev, shape, d, 0.0, float(std))
    shift = mean.detach() if isinstance(mean, dispatch.Tensor) else mean
    return (scaled + shift).to(d)


def bernoulli(
    input: Any, p: Any = None, *, generator: Generator | None = None, out: Any = None
) -> Any:
    """Return 1 with the probabilities in `input` (or with probability `p`), 0 otherwise.

    >>> multitorch.bernoulli(multitorch.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    shape = tuple(input.shape)
    if p is None:
        t = draws.bernoulli_each(generator, shape, input._dtype, input)
    else:
        t = draws.bernoulli(generator, input._dev, shape, input._dtype, float(p))
    return _finish(t, out, False)


def keep_mask(x: Any, keep: float, generator: Generator | None = None) -> Any:
    """Return 1 with probability `keep`, in the shape, dtype and memory order of `x` (dropout)."""
    order, _ = memory_order(x)
    return draws.bernoulli(generator, x._dev, tuple(x.shape), x._dtype, keep, order)


def multinomial(
    input: Any,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Any = None,
) -> Any:
    """Return indices of each row of weights (n) or (m, n): shape (num_samples) or (m, num_samples).

    >>> multitorch.multinomial(multitorch.tensor([0.0, 1.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    num_samples = index_of("multinomial", "num_samples", 2, num_samples)
    if out is not None and out._dtype is not dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out._dtype.scalar_name}")
    _check_multinomial(input, num_samples, replacement)
    probs = input.detach()
    if probs._dev is CPU and not dispatch.capturing:
        _check_weights(probs._a)
        stream = pick(generator, probs._dev).stream
        t = wrap(stream.multinomial(probs._a, num_samples, replacement), probs._dev)
    elif replacement and num_samples > 1:
        t = _choose_with_replacement(probs, num_samples, generator)
    else:
        # The earliest of exponential arrivals with the weights as rates.
        shape = tuple(probs.shape)
        score = probs / draws.exponential(generator, probs._dev, shape, probs._dtype)
        t = score.argsort(-1, descending=True)[..., :num_samples]
    return _finish(t, out, False)


def _check_multinomial(x: Any, num_samples: int, replacement: bool) -> None:
    if x.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not x._dtype.is_floating_point:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: "
            f"{x._dtype.scalar_name}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if x.shape[-1] > 1 << 24:
        raise RuntimeError("number of categories cannot exceed 2^24")
    if not replacement and num_samples > x.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )


def _check_weights(p: np.ndarray) -> None:
    if not (p >= 0).all() or not np.isfinite(p.astype(np.float64)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if p.size and not (p.sum(-1, dtype=np.float64) > 0).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


def _choose_with_replacement(probs: Any, num_samples: int, generator: Generator | None) -> Any:
    shape = (*probs.shape[:-1], num_samples)
    total = probs.cumsum(-1)
    total = total / total[..., -1:]
    unit = draws.uniform(generator, probs._dev, tuple(shape), dtypes.float64)
    below = total[..., :-1].unsqueeze(-2) < unit.unsqueeze(-1)
    return below.sum(-1)


# --- samplers that reject


def _on_host(name: str, x: Any, generator: Generator | None, sample: Callable) -> Any:
    if not x._dtype.is_floating_point:
        raise not_implemented(f"{name}_cpu", x._dtype)
    if not draws_cpu_stream(x._dev):
        raise NotImplementedError(
            f"{name} draws on the cpu only: it rejects draws one by one. Remedy: let the device "
            "draw the cpu's stream with multitorch.random.use_cpu_stream(True)."
        )
    raw = sample(pick(generator, x._dev).stream, x.detach().cpu().numpy())
    return draws.put(raw, x._dev)


def poisson(input: Any, generator: Generator | None = None) -> Any:
    """Return a Poisson count for each rate in `input`."""

    def sample(stream: Any, rates: np.ndarray) -> np.ndarray:
        if not (rates >= 0).all():
            raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
        return rejection.poisson(stream, rates)

    return _on_host("poisson", input, generator, sample)


def binomial(count: Any, prob: Any, generator: Generator | None = None) -> Any:
    """Return how many of `count` trials succeed with probability `prob`; both broadcast."""

    def sample(stream: Any, counts: np.ndarray) -> np.ndarray:
        counts, probs = np.broadcast_arrays(counts, prob.detach().cpu().numpy())
        return rejection.binomial(stream, counts, probs)

    return _on_host("binomial", count, generator, sample)


def _standard_gamma(x: Any, generator: Generator | None = None) -> Any:
    """Return draws from Gamma(alpha, 1) for each alpha; no gradient flows to alpha."""
    return _on_host("gamma", x, generator, rejection.standard_gamma)


def _sample_dirichlet(x: Any, generator: Generator | None = None) -> Any:
    """Return points of the simplex for concentrations along the last dimension; no gradient."""
    return _on_host("dirichlet", x, generator, rejection.dirichlet)


FUNCTIONS: dict[str, Callable] = {
    f.__name__: f
    for f in (
        bernoulli, binomial, multinomial, normal, poisson, rand, rand_like, randint, randint_like,
        randn, randn_like, randperm, _sample_dirichlet, _standard_gamma,
    )
}  # fmt: skip
METHODS: dict[str, Callable] = {
    **random_fill.METHODS,
    "bernoulli": bernoulli,
    "multinomial": multinomial,
}
