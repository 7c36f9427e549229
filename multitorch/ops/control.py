"""Control flow that depends on tensors: `cond`, `while_loop`, `scan` and `map`.

Eagerly they are plain Python over tensors, and gradients flow through them. Inside a compiled
function each becomes one call of the program, whatever it is that the tensors hold: the functions
given are recorded once each, as bodies of that call (`multitorch.graph.control`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from multitorch.ops import apply as dispatch
from multitorch.ops.common import wrap_dim
from multitorch.ops.join import stack
from multitorch.ops.op import Op
from multitorch.ops.parts import select

# --- the calls of a program -----------------------------------------------------------------------


def _results(specs: list[Any]) -> Any:
    return specs[0] if len(specs) == 1 else tuple(specs)


def _scanned(init: tuple, xs: tuple, rest: tuple, *, body: Any, length: int, reverse: bool) -> Any:
    carried, rows = body.results[: len(init)], body.results[len(init) :]
    return _results([*carried, *(((length, *shape), dtype) for shape, dtype in rows)])


cond_op = Op("cond", "pred true_data false_data", shape=lambda *data, true, false: _results(
    true.results)).nondiff()  # fmt: skip
while_op = Op("while_loop", "init test_data body_data", shape=lambda *data, test, body: _results(
    body.results)).nondiff()  # fmt: skip
scan_op = Op("scan", "init xs data", shape=_scanned).nondiff()


def _in_program(name: str, eager: Callable, tensor: Any, *args: Any) -> Any:
    """Run the eager form; if a program is being recorded, put the call into it."""
    if dispatch.capturing:
        world = dispatch.world_for(tensor._dev)
        if world.records:
            return world.control(name, eager, args)
    return eager(*args)


# --- trees ----------------------------------------------------------------------------------------

_LEAF = "a tensor"


def flatten(tree: Any, leaves: list[Any]) -> Any:
    """Append the tensors of nested tuples, lists and dicts to `leaves`; return the structure.

    >>> flatten((multitorch.ones(1), [multitorch.ones(1)]), [])
    (<class 'tuple'>, (0, 1), ('a tensor', (<class 'list'>, (0,), ('a tensor',))))
    """
    if isinstance(tree, dispatch.Tensor):
        leaves.append(tree)
        return _LEAF
    if isinstance(tree, dict):
        keys, parts = tuple(tree), tree.values()
    elif isinstance(tree, (tuple, list)):
        keys, parts = tuple(range(len(tree))), tree
    else:
        raise TypeError(f"expected tensors in tuples, lists or dicts, got {type(tree).__name__}")
    return type(tree), keys, tuple([flatten(part, leaves) for part in parts])


def unflatten(structure: Any, leaves: Iterator[Any]) -> Any:
    """Return the tree of a structure that `flatten` gave, filled anew."""
    if structure is _LEAF:
        return next(leaves)
    kind, keys, parts = structure
    values = [unflatten(part, leaves) for part in parts]
    if issubclass(kind, dict):
        return dict(zip(keys, values, strict=True))
    return kind._make(values) if hasattr(kind, "_make") else kind(values)


def _map_tree(f: Callable, *trees: Any) -> Any:
    """Apply `f` to corresponding tensors of trees of one structure."""
    columns: list[list[Any]] = [[] for _ in trees]
    structures = [flatten(tree, c) for tree, c in zip(trees, columns, strict=True)]
    for other in structures[1:]:
        if other != structures[0]:
            raise RuntimeError(
                f"the results have different structures: {structures[0]} and {other}"
            )
    return unflatten(structures[0], iter([f(*ts) for ts in zip(*columns, strict=True)]))


def _first_tensor(tree: Any) -> Any:
    leaves: list[Any] = []
    flatten(tree, leaves)
    if not leaves:
        raise ValueError("there is no tensor to go through")
    return leaves[0]


def _tensor_in(*trees: Any) -> Any:
    """Return some tensor among arguments that may be anything, None if there is none."""
    for tree in trees:
        if isinstance(tree, dispatch.Tensor):
            return tree
        parts = tree.values() if isinstance(tree, dict) else tree
        found = _tensor_in(*parts) if isinstance(tree, (tuple, list, dict)) else None
        if found is not None:
            return found
    return None


# --- cond and while_loop --------------------------------------------------------------------------


def _truth(name: str, value: Any) -> bool:
    check_truth(name, value)
    return value if isinstance(value, bool) else bool(value.item())


def check_truth(name: str, value: Any) -> None:
    """Raise unless a condition is a bool or a tensor of one element."""
    if isinstance(value, dispatch.Tensor):
        if value.numel() != 1:
            raise RuntimeError(f"{name}: expected a tensor of one element, got {list(value.shape)}")
    elif not isinstance(value, bool):
        raise RuntimeError(f"{name}: expected a bool or a tensor, got {type(value).__name__}")


def cond(pred: Any, true_fn: Callable, false_fn: Callable, operands: Sequence[Any] = ()) -> Any:
    """Return `true_fn(*operands)` where `pred` is true, else `false_fn(*operands)`.

    Inside a compiled function both are recorded, and must return tensors of the same structure,
    shapes and dtypes. Source: https://docs.pytorch.org/docs/stable/cond.html

    >>> x = multitorch.tensor(2.0)
    >>> multitorch.cond(x > 1, lambda x: x * 10, lambda x: x, (x,))
    tensor(20.)
    """
    check_truth("cond", pred)
    if isinstance(pred, bool):
        return (true_fn if pred else false_fn)(*operands)
    return _in_program("cond", _cond, pred, pred, true_fn, false_fn, tuple(operands))


def _cond(pred: Any, true_fn: Callable, false_fn: Callable, operands: tuple) -> Any:
    return (true_fn if _truth("cond", pred) else false_fn)(*operands)


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: Sequence[Any]) -> tuple:
    """Apply `carried = body_fn(*carried)` while `cond_fn(*carried)` is true; return `carried`.

    Inside a compiled function what is carried must be tensors that keep their shapes and dtypes.
    There is no derivative of it in a program: where one is needed, the program ends at the loop.

    >>> x = multitorch.tensor(1.0)
    >>> multitorch.while_loop(lambda x: x < 100, lambda x: (x * 3,), (x,))
    (tensor(243.),)
    """
    carried = tuple(carried_inputs)
    tensor = _tensor_in(carried)
    if tensor is None:
        return _while_loop(cond_fn, body_fn, carried)
    return _in_program("while_loop", _while_loop, tensor, cond_fn, body_fn, carried)


def carried_by(result: Any, count: int) -> tuple:
    """Return what the body of a `while_loop` gave as a tuple; raise unless it is `count` values."""
    carried = result if isinstance(result, tuple) else tuple(result)
    if len(carried) != count:
        raise RuntimeError(
            f"while_loop: body_fn returned {len(carried)} values, {count} are carried"
        )
    return carried


def _while_loop(cond_fn: Callable, body_fn: Callable, carried: tuple) -> tuple:
    while _truth("while_loop", cond_fn(*carried)):
        carried = carried_by(body_fn(*carried), len(carried))
    return carried


# --- scan and map ---------------------------------------------------------------------------------


def scan(
    combine_fn: Callable, init: Any, xs: Any, *, dim: int = 0, reverse: bool = False
) -> tuple[Any, Any]:
    """Go along a dimension with `carry, y = combine_fn(carry, x)`; return the carry and stacked y.

    Trees of tensors may stand for `init`, `xs` and `y`. Inside a compiled function the carry must
    keep its structure, shapes and dtypes.

    >>> add = lambda carry, x: (carry + x, carry + x)
    >>> multitorch.scan(add, multitorch.tensor(0), multitorch.arange(4))
    (tensor(6), tensor([0, 1, 3, 6]))
    """
    first = _first_tensor(xs)
    at = wrap_dim(dim, first.ndim)
    if not first.shape[at]:
        raise RuntimeError("scan: there is nothing to go along, the dimension has no elements")
    return _in_program("scan", _scan, first, combine_fn, init, xs, at, reverse)


def _scan(combine_fn: Callable, init: Any, xs: Any, dim: int, reverse: bool) -> tuple[Any, Any]:
    steps = range(_first_tensor(xs).shape[dim])
    carry, outputs = init, []
    for i in reversed(steps) if reverse else steps:
        carry, y = combine_fn(carry, _map_tree(lambda t, i=i: select(t, dim, i), xs))
        outputs.append(y)
    if reverse:
        outputs.reverse()
    return carry, _map_tree(lambda *ys: stack(ys, 0), *outputs)


def map(f: Callable, xs: Any, *args: Any) -> Any:
    """Apply `f(x, *args)` to every slice of the first dimension; return the stacked results.

    >>> multitorch.map(lambda x: x.sum(), multitorch.ones(2, 3))
    tensor([3., 3.])
    """
    first = _first_tensor(xs)
    if not first.shape[0]:
        raise RuntimeError("map: the first dimension has no elements")
    return _in_program("map", _map, first, f, xs, args)


def _map(f: Callable, xs: Any, args: tuple) -> Any:
    count = _first_tensor(xs).shape[0]
    results = [f(_map_tree(lambda t, i=i: select(t, 0, i), xs), *args) for i in range(count)]
    return _map_tree(lambda *ys: stack(ys, 0), *results)


FUNCTIONS: dict[str, Callable] = {"cond": cond, "while_loop": while_loop, "scan": scan, "map": map}
