"""Control flow that depends on tensors: `cond`, `while_loop`, `scan` and `map`.

They are plain Python over tensors, so gradients flow through them. Inside a compiled function the
host needs to know a condition: `cond` and `while_loop` end the graph there (the body of a loop is
compiled once and run again and again), `scan` and `map` are unrolled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from multitorch.ops import apply as dispatch
from multitorch.ops.common import wrap_dim
from multitorch.ops.join import stack
from multitorch.ops.parts import select


def _map_tree(f: Callable, *trees: Any) -> Any:
    """Apply `f` to corresponding tensors of trees of tuples, lists and dicts."""
    first = trees[0]
    if isinstance(first, dispatch.Tensor):
        return f(*trees)
    if isinstance(first, dict):
        return {k: _map_tree(f, *[t[k] for t in trees]) for k in first}
    if isinstance(first, (tuple, list)):
        return type(first)([_map_tree(f, *parts) for parts in zip(*trees, strict=True)])
    raise TypeError(f"expected tensors in tuples, lists or dicts, got {type(first).__name__}")


def _first_tensor(tree: Any) -> Any:
    if isinstance(tree, dispatch.Tensor):
        return tree
    for part in tree.values() if isinstance(tree, dict) else tree:
        return _first_tensor(part)
    raise ValueError("there is no tensor to go through")


def _truth(name: str, value: Any) -> bool:
    if isinstance(value, dispatch.Tensor):
        if value.numel() != 1:
            raise RuntimeError(f"{name}: expected a tensor of one element, got {list(value.shape)}")
        return bool(value.item())
    if not isinstance(value, bool):
        raise RuntimeError(f"{name}: expected a bool or a tensor, got {type(value).__name__}")
    return value


def cond(pred: Any, true_fn: Callable, false_fn: Callable, operands: Sequence[Any] = ()) -> Any:
    """Return `true_fn(*operands)` where `pred` is true, else `false_fn(*operands)`.

    Source: https://docs.pytorch.org/docs/stable/cond.html

    >>> x = multitorch.tensor(2.0)
    >>> multitorch.cond(x > 1, lambda x: x * 10, lambda x: x, (x,))
    tensor(20.)
    """
    return (true_fn if _truth("cond", pred) else false_fn)(*operands)


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: Sequence[Any]) -> tuple:
    """Apply `carried = body_fn(*carried)` while `cond_fn(*carried)` is true; return `carried`.

    >>> x = multitorch.tensor(1.0)
    >>> multitorch.while_loop(lambda x: x < 100, lambda x: (x * 3,), (x,))
    (tensor(243.),)
    """
    carried = tuple(carried_inputs)
    while _truth("while_loop", cond_fn(*carried)):
        result = body_fn(*carried)
        carried = result if isinstance(result, tuple) else tuple(result)
        if len(carried) != len(carried_inputs):
            raise RuntimeError(
                f"while_loop: body_fn returned {len(carried)} values, {len(carried_inputs)} are "
                "carried"
            )
    return carried


def scan(
    combine_fn: Callable, init: Any, xs: Any, *, dim: int = 0, reverse: bool = False
) -> tuple[Any, Any]:
    """Go along a dimension with `carry, y = combine_fn(carry, x)`; return the carry and stacked y.

    Trees of tensors may stand for `init`, `xs` and `y`.

    >>> add = lambda carry, x: (carry + x, carry + x)
    >>> multitorch.scan(add, multitorch.tensor(0), multitorch.arange(4))
    (tensor(6), tensor([0, 1, 3, 6]))
    """
    first = _first_tensor(xs)
    at = wrap_dim(dim, first.ndim)
    steps = range(first.shape[at])
    carry, outputs = init, []
    for i in reversed(steps) if reverse else steps:
        carry, y = combine_fn(carry, _map_tree(lambda t, i=i: select(t, at, i), xs))
        outputs.append(y)
    if not outputs:
        raise RuntimeError("scan: there is nothing to go along, the dimension has no elements")
    if reverse:
        outputs.reverse()
    return carry, _map_tree(lambda *ys: stack(ys, 0), *outputs)


def map(f: Callable, xs: Any, *args: Any) -> Any:
    """Apply `f(x, *args)` to every slice of the first dimension; return the stacked results.

    >>> multitorch.map(lambda x: x.sum(), multitorch.ones(2, 3))
    tensor([3., 3.])
    """
    count = _first_tensor(xs).shape[0]
    if not count:
        raise RuntimeError("map: the first dimension has no elements")
    results = [f(_map_tree(lambda t, i=i: select(t, 0, i), xs), *args) for i in range(count)]
    return _map_tree(lambda *ys: stack(ys, 0), *results)


FUNCTIONS: dict[str, Callable] = {"cond": cond, "while_loop": while_loop, "scan": scan, "map": map}
