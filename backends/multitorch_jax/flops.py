"""Count what instructions of a compiled program compute, by the rules of XLA's cost analysis.

XLA tells a program's totals only. Counted instruction by instruction they can be attributed to
lines of code; that they add up to XLA's totals is tested.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np

from multitorch_jax.hlo import Line, Text, elements, shape

_ELEMENTWISE = frozenset(
    "abs add and ceil clamp compare complex convert count-leading-zeros divide floor imag "
    "is-finite maximum minimum multiply negate not or popcnt real reduce-precision remainder "
    "round-nearest-afz round-nearest-even select shift-left shift-right-arithmetic "
    "shift-right-logical sign stochastic-convert subtract xor".split()
)
"""One flop an element. XLA counts exp, log, sqrt, tanh and the like apart from flops."""
NESTED = frozenset("async-start call conditional fusion while".split())
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW = re.compile(r"window=\{([^}]*)\}")
_GROUPS = re.compile(r"batch_group_count=(\d+)")
Types = dict[str, str]


class Flops:
    """The flops of a program's instructions: a loop's body counts once, of branches the largest."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._whole: dict[str, float] = {}

    def of(self, line: Line, types: Types) -> float:
        """Return what an instruction computes."""
        if line.opcode in _ELEMENTWISE:
            return elements(line.type)
        if line.opcode in NESTED:
            inside = [self.whole(name) for name in line.callees]
            return max(inside, default=0) if line.opcode == "conditional" else sum(inside)
        rule = _RULES.get(line.opcode)
        if rule is None:
            return 0
        given = [types.get(name, "") for name in line.operands]
        return rule(line, given, [self.whole(name) for name in line.callees])

    def whole(self, name: str) -> float:
        """Return the flops of a computation, run once."""
        if name not in self._whole:
            types = self._text.types(name)
            self._whole[name] = sum(self.of(line, types) for line in self._text.parts[name])
        return self._whole[name]


def _dot(line: Line, given: list[str], inner: list[float]) -> float:
    contracted = _CONTRACTED.search(line.rest)
    dims = [int(n) for n in contracted.group(1).split(",") if n] if contracted else []
    left = shape(given[0])
    return 2 * elements(line.type) * math.prod(left[d] for d in dims)


def _convolution(line: Line, given: list[str], inner: list[float]) -> float:
    """Count multiply-adds where the window lies on data, not on padding or between dilated data."""
    labels = _LABELS.search(line.rest)
    assert labels is not None
    (data, kernel, out), groups = labels.groups(), _GROUPS.search(line.rest)
    x, w, y = shape(given[0]), shape(given[1]), shape(line.type)
    window = _window(line)
    valid = 1
    for d in (c for c in out if c.isdigit()):
        at = int(d)
        sizes = x[data.index(d)], w[kernel.index(d)], y[out.index(d)]
        valid *= _valid(*sizes, *[window[key][at] for key in _DEFAULTS])
    batch = x[data.index("b")] // (int(groups.group(1)) if groups else 1)
    return 2 * valid * w[kernel.index("i")] * w[kernel.index("o")] * batch


_DEFAULTS = {"stride": "1", "pad": "0_0", "lhs_dilate": "1", "rhs_dilate": "1"}


def _window(line: Line) -> dict[str, list[int]]:
    """Return each property of a window by dimension; of the padding the low side."""
    found = _WINDOW.search(line.rest)
    given = dict(item.split("=") for item in found.group(1).split()) if found else {}
    count = len(given["size"].split("x")) if "size" in given else 0
    values = {key: given.get(key, "x".join([v] * count)) for key, v in _DEFAULTS.items()}
    values["size"] = given.get("size", "")
    return {k: [int(v.split("_")[0]) for v in text.split("x") if v] for k, text in values.items()}


def _valid(
    size: int, taps: int, places: int, stride: int, pad: int, spread: int, dilation: int
) -> int:
    """Count the pairs of a tap and a place where the tap lies on one of `size` elements."""
    at = np.arange(places)[:, None] * stride + np.arange(taps) * dilation - pad
    return int(((at >= 0) & (at % spread == 0) & (at // spread < size)).sum())


def _reduce(line: Line, given: list[str], inner: list[float]) -> float:
    return sum(inner) * (elements(given[0]) - elements(line.type))


def _reduce_window(line: Line, given: list[str], inner: list[float]) -> float:
    return sum(inner) * elements(line.type) * (math.prod(_window(line)["size"]) - 1)


def _select_and_scatter(line: Line, given: list[str], inner: list[float]) -> float:
    count, size = elements(given[1]), math.prod(_window(line)["size"])
    select, scatter = inner
    return count * ((size - 1) * select + scatter)


def _scatter(line: Line, given: list[str], inner: list[float]) -> float:
    return sum(inner) * elements(given[-1])


def _map(line: Line, given: list[str], inner: list[float]) -> float:
    return sum(inner) * elements(line.type)


def _sort(line: Line, given: list[str], inner: list[float]) -> float:
    count = elements(given[0])
    return count * math.ceil(math.log2(count)) if count > 1 else 0


_RULES: dict[str, Callable[[Line, list[str], list[float]], float]] = {
    "dot": _dot,
    "convolution": _convolution,
    "reduce": _reduce,
    "reduce-window": _reduce_window,
    "select-and-scatter": _select_and_scatter,
    "scatter": _scatter,
    "map": _map,
    "sort": _sort,
}
