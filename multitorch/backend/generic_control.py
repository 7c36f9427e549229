"""The control ops of a program as Python loops: for backends that have no loop of their own.

A `body` is a graph: `body.replay(F, values)` runs it on values that stand for its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Array = Any


def _results(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def cond(
    F: Any, pred: Array, true_data: Sequence[Any], false_data: Sequence[Any], *, true: Any,
    false: Any,
) -> Any:  # fmt: skip
    """Return the results of one of two graphs."""
    body, data = (true, true_data) if pred else (false, false_data)
    return _results([F.own(a) for a in body.replay(F, list(data))])


def while_loop(
    F: Any, init: Sequence[Array], test_data: Sequence[Any], body_data: Sequence[Any], *, test: Any,
    body: Any,
) -> Any:  # fmt: skip
    """Run a graph on its own results as long as another one, `test`, gives true for them."""
    carried = list(init)
    while test.replay(F, [*carried, *test_data])[0]:
        carried = body.replay(F, [*carried, *body_data])
    return _results([F.own(a) for a in carried])


def scan(
    F: Any, init: Sequence[Array], xs: Sequence[Array], data: Sequence[Any], *, body: Any,
    length: int, reverse: bool,
) -> Any:  # fmt: skip
    """Run a graph for every slice of `xs`: what it carries on first, and what is stacked."""
    carried, rows = list(init), []
    for i in range(length - 1, -1, -1) if reverse else range(length):
        values = body.replay(F, [*carried, *[F.select(x, i, dim=0) for x in xs], *data])
        carried, row = values[: len(init)], values[len(init) :]
        rows.append(row)
    if reverse:
        rows.reverse()
    stacked = [F.stack(*column, dim=0) for column in zip(*rows, strict=True)]
    return _results([*[F.own(a) for a in carried], *stacked])
