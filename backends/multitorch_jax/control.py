"""The control ops of a program: XLA's own conditional and loops, with graphs as their bodies."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax import lax

Array = Any


@functools.cache
def _world() -> Any:
    from multitorch_jax.backend import TraceWorld  # which collects the functions of this module

    return TraceWorld()


def _run(body: Any, values: Sequence[Any]) -> list[Array]:
    """Return a graph's results with exactly the dtypes it says: loops take no weak types."""
    results = body.replay(_world(), list(values))
    dtypes = [dtype for _, dtype in body.results]
    return [
        lax.convert_element_type(jax.numpy.asarray(a), d)
        for a, d in zip(results, dtypes, strict=True)
    ]


def _fit(values: Sequence[Any], results: Sequence[Any]) -> tuple[Array, ...]:
    pairs = zip(values, results, strict=False)
    return tuple([lax.convert_element_type(jax.numpy.asarray(a), d) for a, (_, d) in pairs])


def _one_or_all(values: Sequence[Array]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _truth(a: Array) -> Array:
    return jax.numpy.asarray(a).reshape(()).astype(bool)


def cond(
    pred: Array, true_data: Sequence[Any], false_data: Sequence[Any], *, true: Any, false: Any
) -> Any:
    """Return the results of one of two graphs."""
    return _one_or_all(
        lax.cond(_truth(pred), lambda: _run(true, true_data), lambda: _run(false, false_data))
    )


def while_loop(
    init: Sequence[Array], test_data: Sequence[Any], body_data: Sequence[Any], *, test: Any,
    body: Any,
) -> Any:  # fmt: skip
    """Run a graph on its own results as long as another one, `test`, gives true for them."""
    return _one_or_all(
        lax.while_loop(
            lambda carried: _truth(_run(test, [*carried, *test_data])[0]),
            lambda carried: tuple(_run(body, [*carried, *body_data])),
            _fit(init, body.results),
        )
    )


def scan(
    init: Sequence[Array], xs: Sequence[Array], data: Sequence[Any], *, body: Any, length: int,
    reverse: bool,
) -> Any:  # fmt: skip
    """Run a graph for every slice of `xs`: what it carries on first, and what is stacked."""
    count = len(init)

    def step(carried: tuple, x: tuple) -> tuple[tuple, tuple]:
        values = _run(body, [*carried, *x, *data])
        return tuple(values[:count]), tuple(values[count:])

    carried, rows = lax.scan(
        step, _fit(init, body.results), tuple(xs), length=length, reverse=reverse
    )
    return _one_or_all([*carried, *rows])
