"""Control ops as single calls of a program: `cond`, `while_loop`, `scan` and `map`.

The functions given are recorded once, as bodies (`graph.body`); the derivatives are in
`graph.derive`. What a program cannot hold (a body that reads a value, or writes to a tensor from
outside) runs in the eager form: `scan` and `map` are unrolled, `cond` and `while_loop` end the
program there.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from multitorch.autograd import modes, tape
from multitorch.graph import capture
from multitorch.graph.body import Scope, Unrecordable, raw
from multitorch.graph.derive import Operand, apply_cond, apply_scan, call, shape_key, slice_key
from multitorch.graph.steps import Steps, spread
from multitorch.ops.control import carried_by, check_truth, flatten, unflatten


def record(recording: Any, name: str, eager: Callable, args: tuple) -> Any:
    """Record a control op as one call; where that cannot be, run its eager form, with a warning."""
    try:
        return _FORMS[name](recording, *args)
    except Unrecordable as refusal:
        why, remedy = str(refusal), refusal.remedy
    if name in ("scan", "map"):
        text = f"{why}. In the program it is unrolled, one step after the other. Remedy: {remedy}."
        _warn(recording.warned, text)
        return eager(*args)
    if recording.body is not None:
        recording.body.refuse(why)
    recording.reason = why, remedy  # for the break that follows
    try:
        return eager(*args)
    finally:
        recording.reason = None


def _warn(warned: set[str], text: str) -> None:
    """Warn once of each compiled function and line."""
    frame = sys._getframe(1)
    text = f"{tape.describe(tape.user_place(frame))}: {text}"
    if text not in warned:
        warned.add(text)
        warnings.warn(text, stacklevel=capture._depth_of_user(frame) + 1)


# --- trees ----------------------------------------------------------------------------------------


def _flatten(name: str, what: str, tree: Any) -> tuple[Any, list[Any]]:
    leaves: list[Any] = []
    try:
        return flatten(tree, leaves), leaves
    except TypeError as error:
        raise Unrecordable(f"{name}: {what}: {error}", "let it be tensors") from None


def _describe(structure: Any, results: Sequence[Any]) -> str:
    """Write a tree of tensors as people read it: (float32[3], [int64[]])."""
    texts = iter([f"{np.dtype(dtype).name}{list(shape)}" for shape, dtype in results])
    return repr(unflatten(structure, map(_Text, texts)))


class _Text(str):
    __repr__ = str.__str__


def _check_carried(
    name: str, structure: Any, leaves: Sequence[Any], after: Any, results: Sequence[Any]
) -> None:
    before = [shape_key(t) for t in leaves]
    if structure != after or before != list(results):
        raise RuntimeError(
            f"{name}: what is carried must keep its structure, shapes and dtypes: it begins as "
            f"{_describe(structure, before)}, and the body returns {_describe(after, results)}"
        )


def _count(structure: Any) -> int:
    """Return the number of tensors in a structure."""
    return sum(map(_count, structure[2])) if isinstance(structure, tuple) else 1


# --- cond and while_loop --------------------------------------------------------------------------


def _cond(recording: Any, pred: Any, true_fn: Callable, false_fn: Callable, operands: tuple) -> Any:
    true, false = Scope(recording, "cond"), Scope(recording, "cond")
    structure, other = true.trace(true_fn, *operands), false.trace(false_fn, *operands)
    results = true.graph.results, false.graph.results
    if structure != other or results[0] != results[1]:
        raise RuntimeError(
            "cond: both functions must return the same structure, shapes and dtypes: true_fn "
            f"returns {_describe(structure, results[0])}, false_fn returns "
            f"{_describe(other, results[1])}"
        )
    if not results[0]:
        raise Unrecordable("cond: the functions return no tensor")
    outs = apply_cond(recording.dev, raw(pred), (true, false), {})
    return unflatten(structure, iter(outs))


def _while_loop(recording: Any, cond_fn: Callable, body_fn: Callable, carried: tuple) -> tuple:
    structure, leaves = _flatten("while_loop", "what is carried", carried)
    if any(t._node is not None for t in leaves) and modes.is_grad_enabled():
        raise _no_derivative()

    def condition(*carried: Any) -> Any:
        value = cond_fn(*carried)
        check_truth("while_loop", value)
        return value

    def step(*carried: Any) -> tuple:
        return carried_by(body_fn(*carried), len(carried))

    dev, init = recording.dev, tuple([raw(t) for t in leaves])
    test, body = Scope(recording, "while_loop"), Scope(recording, "while_loop")
    data, after = [], None
    for scope, function in ((test, condition), (body, step)):
        given = [scope.placeholder(shape_key(a), dev, False) for a in init]
        after = scope.trace(function, *unflatten(structure, iter(given)))
        data.append(tuple(scope.arrange([t._a.id for t in given])))
    _check_carried("while_loop", structure, leaves, after, body.graph.results)
    if any(body.sources()):
        raise _no_derivative()
    outs = call(dev, "while_loop", (init, *data), test=test.graph, body=body.graph)
    return unflatten(structure, iter(outs))


def _no_derivative() -> Unrecordable:
    return Unrecordable(
        "while_loop: a gradient is wanted, and in a program it has none, because the number of "
        "steps is not known",
        "use scan, which has one, or no_grad()",
    )


# --- scan and map ---------------------------------------------------------------------------------


def _map(recording: Any, f: Callable, xs: Any, args: tuple) -> Any:
    def step(carry: Any, x: Any) -> Any:
        return carry, f(x, *args)

    return _scan(recording, step, (), xs, 0, False, "map")[1]


def _scan(
    recording: Any, combine_fn: Callable, init: Any, xs: Any, dim: int, reverse: bool,
    name: str = "scan",
) -> tuple[Any, Any]:  # fmt: skip
    carried, carries = _flatten(name, "what is carried", init)
    sliced, columns = _flatten(name, "what it goes along", xs)
    length = _length(name, columns, dim)
    columns = [t.movedim(dim, 0) if dim else t for t in columns]
    init_operands = [Operand.of(t) for t in carries]
    xs_operands = [Operand.of(t) for t in columns]
    scope, dev, grad = Scope(recording, name), recording.dev, modes.is_grad_enabled()
    first = [
        scope.placeholder(shape_key(o.raw), dev, grad and t._dtype.inexact)
        for t, o in zip(carries, init_operands, strict=True)
    ]
    each = [scope.placeholder(slice_key(o.raw), dev, o.edge is not None) for o in xs_operands]
    arguments = unflatten(carried, iter(first)), unflatten(sliced, iter(each))
    after, rows = _pair(name, scope.trace(combine_fn, *arguments))
    _check_carried(name, carried, carries, after, scope.graph.results[: _count(after)])
    if not scope.graph.outputs:
        raise Unrecordable(f"{name}: the function returns no tensor")
    steps = Steps(scope, [t._a.id for t in first], [t._a.id for t in each], length, reverse)
    xs_operands += [Operand(a, None) for a in spread(scope, steps, dev, xs_operands[0].raw)]
    outs: Iterator[Any] = iter(apply_scan(dev, steps, init_operands, xs_operands))
    return unflatten(carried, outs), unflatten(rows, outs)


def _length(name: str, columns: Sequence[Any], dim: int) -> int:
    """Return how many steps there are; raise if the tensors do not agree."""
    sizes = {t.shape[dim] for t in columns}
    if len(sizes) > 1:
        shapes = ", ".join(str(list(t.shape)) for t in columns)
        raise RuntimeError(f"{name}: sizes differ along dimension {dim}: {shapes}")
    return sizes.pop()


def _pair(name: str, structure: Any) -> tuple[Any, Any]:
    """Return the structures of the carry and of the row that the body of a scan returns."""
    if not isinstance(structure, tuple) or len(structure[2]) != 2:
        raise RuntimeError(f"{name}: the function must return a pair, (carry, y)")
    return structure[2]


_FORMS: dict[str, Callable] = {
    "cond": _cond, "while_loop": _while_loop, "scan": _scan, "map": _map
}  # fmt: skip
