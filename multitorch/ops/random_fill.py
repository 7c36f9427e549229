"""Fill a tensor with random numbers: `uniform_`, `normal_` and the other in-place draws."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import dtype as DType
from multitorch.ops import random_draw as draws
from multitorch.ops.inplace import check_writable, commit
from multitorch.random.generator import Generator

_C_NAMES = {
    dtypes.bool_: "bool",
    dtypes.uint8: "unsigned char",
    dtypes.int8: "signed char",
    dtypes.int16: "short",
    dtypes.int32: "int",
    dtypes.int64: "long",
    dtypes.float16: "c10::Half",
    dtypes.bfloat16: "c10::BFloat16",
    dtypes.float32: "float",
    dtypes.float64: "double",
}


def _fill(x: Any, generator: Generator | None, distribution: Callable, *args: Any) -> Any:
    check_writable(x)
    order, _ = draws.memory_order(x)
    shape = tuple(x.shape)
    return commit(x, distribution(generator, x._dev, shape, x._dtype, *args, order=order))


def _bounds(name: str, args: tuple, kwargs: dict[str, Any], *defaults: Any) -> list[Any]:
    """Return the arguments `from` and `to`, of which Python can name only the second."""
    extra = set(kwargs) - {"from", "to"}
    if len(args) > 2 or extra:
        raise TypeError(f"{name}() received an invalid combination of arguments: {sorted(extra)}")
    given = [*args, *defaults[len(args) :]]
    for i, key in enumerate(("from", "to")):
        given[i] = kwargs.get(key, given[i])
    return given


# --- continuous


def uniform_(x: Any, *args: Any, generator: Generator | None = None, **kwargs: Any) -> Any:
    """Fill with draws from [from, to): `uniform_(from=0, to=1, *, generator=None)`.

    >>> multitorch.zeros(2).uniform_(3, 3)
    tensor([3., 3.])
    """
    low, high = _bounds("uniform_", args, kwargs, 0.0, 1.0)
    low, high = float(low), float(high)
    if x._dtype.inexact:
        _check_uniform(low, high, x._dtype)
    return _fill(x, generator, draws.uniform, low, high)


def _check_uniform(low: float, high: float, d: DType) -> None:
    real = d.to_real()
    info = dtypes.finfo(real)
    for name, bound in (("from", low), ("to", high)):
        if not info.min <= bound <= info.max:
            raise RuntimeError(f"{name} is out of bounds for {_C_NAMES.get(real, real.name)}")
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}"
        )
    if high - low > info.max:
        raise RuntimeError(
            f"uniform_ expects to-from <= std::numeric_limits<{real.scalar_name}>::max(), but "
            f"found to={high:g} and from={low:g} which result in to-from to exceed the limit"
        )


def normal_(x: Any, mean: float = 0, std: float = 1, *, generator: Generator | None = None) -> Any:
    """Fill with draws from N(mean, std²)."""
    check_writable(x)
    order, contiguous = draws.memory_order(x)
    result = draws.normal(
        generator, x._dev, tuple(x.shape), x._dtype, float(mean), float(std), order, contiguous
    )
    return commit(x, result)


def log_normal_(
    x: Any, mean: float = 1, std: float = 2, *, generator: Generator | None = None
) -> Any:
    """Fill with exp of draws from N(mean, std²)."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    if not x._dtype.is_floating_point:
        raise draws.not_implemented("log_normal_cpu", x._dtype)
    return _fill(x, generator, draws.log_normal, float(mean), float(std))


def exponential_(x: Any, lambd: float = 1, *, generator: Generator | None = None) -> Any:
    """Fill with draws of density lambd · exp(-lambd · x)."""
    _check_continuous("Exponential", x._dtype)
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    return _fill(x, generator, draws.exponential, float(lambd))


def cauchy_(
    x: Any, median: float = 0, sigma: float = 1, *, generator: Generator | None = None
) -> Any:
    """Fill with draws from the Cauchy distribution."""
    _check_continuous("Cauchy", x._dtype)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    return _fill(x, generator, draws.cauchy, float(median), float(sigma))


def _check_continuous(name: str, d: DType) -> None:
    if not d.is_floating_point:
        raise RuntimeError(
            f"{name} distribution is a continuous probability distribution. dtype must be a "
            f"floating point but you specified {d.scalar_name}"
        )


# --- discrete


def bernoulli_(x: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Any:
    """Fill with 1 with probability `p`, a number or a tensor, and 0 otherwise."""
    if not isinstance(p, draws.dispatch.Tensor):
        return _fill(x, generator, draws.bernoulli, float(p))
    check_writable(x)
    order, _ = draws.memory_order(x)
    probs = p.expand(x.shape)
    return commit(x, draws.bernoulli_each(generator, tuple(x.shape), x._dtype, probs, order))


def geometric_(x: Any, p: float, *, generator: Generator | None = None) -> Any:
    """Fill with the number of the first success in trials of probability `p`."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    if x._dtype.is_complex or x._dtype is dtypes.bool_:
        raise draws.not_implemented("geometric_cpu", x._dtype)
    return _fill(x, generator, draws.geometric, float(p))


def random_(x: Any, *args: Any, generator: Generator | None = None, **kwargs: Any) -> Any:
    """Fill with integers: `random_(from=0, to=None, *, generator=None)` or `random_(to)`.

    Without bounds, from 0 to the largest integer that the dtype holds exactly.
    """
    if len(args) == 1 and not kwargs:
        args = (0, *args)
    elif not args and not kwargs:
        return _fill(x, generator, draws.all_integers)
    low, high = _bounds("random_", args, kwargs, 0, None)
    low = index_of("random_", "from", 1, low)
    if high is None:
        check_range(low, low + 1, x._dtype)
        high = (draws.EXACT_INTEGERS.get(x._dtype) or dtypes.iinfo(x._dtype).max) + 1
    else:
        high = index_of("random_", "to", 2, high)
        check_range(low, high, x._dtype)
    return _fill(x, generator, draws.integers, low, high)


def index_of(function: str, name: str, position: int, value: Any) -> int:
    """Return an integer argument as an int, or raise TypeError naming it."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{function}(): argument '{name}' (position {position}) must be int, not "
            f"{type(value).__name__}"
        ) from None


def check_range(low: int, high: int, d: DType) -> None:
    """Raise PyTorch's errors for a range of integers that is empty or beyond the dtype."""
    if low < -(1 << 63) or high >= 1 << 63:
        raise ValueError("Overflow when unpacking long long")
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if d.is_complex:
        raise RuntimeError(
            "check_random_bounds handles only integral, floating-point and boolean types"
        )
    if d.inexact:
        _check_exact(low, high, d)
        return
    least, most = (0, 1) if d is dtypes.bool_ else (dtypes.iinfo(d).min, dtypes.iinfo(d).max)
    for name, bound in (("from", low), ("to - 1", high - 1)):
        if not least <= bound <= most:
            raise RuntimeError(f"{name} is out of bounds for {_C_NAMES.get(d, d.name)}")


def _check_exact(low: int, high: int, d: DType) -> None:
    exact = draws.EXACT_INTEGERS.get(d)
    if exact is None:
        raise draws.not_implemented("random_update_from_to", d)
    for name, bound in (("from", low), ("to - 1", high - 1)):
        if abs(bound) > dtypes.finfo(d).max:
            raise RuntimeError(f"{name} is out of bounds for {_C_NAMES[d]}")
        if abs(bound) > exact:
            bits = exact.bit_length() - 1
            warnings.warn(
                f"{name} is out of bounds [-(2^{bits}), 2^{bits}]. Due to precision limitations "
                f"{d.name} can support discrete uniform distribution only within this range.",
                UserWarning,
                stacklevel=3,
            )


METHODS: dict[str, Callable] = {
    "bernoulli_": bernoulli_,
    "cauchy_": cauchy_,
    "exponential_": exponential_,
    "geometric_": geometric_,
    "log_normal_": log_normal_,
    "normal_": normal_,
    "random_": random_,
    "uniform_": uniform_,
}
