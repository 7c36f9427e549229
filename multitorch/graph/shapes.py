"""Which shape and dtype a kernel's result has, without data: from the op's declaration."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from multitorch.backend.contract import generic_bodies
from multitorch.ops.apply import broadcast_shape
from multitorch.ops.op import REGISTRY, Op

Spec = tuple[tuple[int, ...], np.dtype]


class NoShape(NotImplementedError):
    """Raised for an op that declares no shape function."""


@lru_cache(maxsize=1)
def _by_kernel(count: int) -> dict[str, Op]:
    table: dict[str, Op] = {}
    for op in REGISTRY.values():
        if op.kernel not in table or op.shape is not None:
            table[op.kernel] = op
    return table


def infer(world: Any, name: str, arrays: tuple, params: dict[str, Any]) -> Any:
    """Return the (shape, dtype) of a kernel's result, or a tuple of them."""
    op = _by_kernel(len(REGISTRY)).get(name)
    if op is not None and op.shape is not None:
        return op.shape(*arrays, **params)
    body = generic_bodies().get(name)
    if body is not None:
        return _specs(body(world, *arrays, **params))
    if op is not None and op.promote is not None and op.broadcasts:
        return _pointwise(op, arrays)
    raise NoShape(
        f"{name}: the op declares no shape function, which device 'meta' and compile need"
    )


def _specs(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple((r.shape, r.dtype) for r in result)
    return result.shape, result.dtype


def _pointwise(op: Op, arrays: tuple) -> Spec:
    assert op.promote is not None
    shapes = [a.shape for a in arrays if hasattr(a, "shape")]
    shape = shapes[0] if len(shapes) == 1 else broadcast_shape(*shapes)
    if op.promote.out_bool:
        return shape, np.dtype(bool)
    kept = [a for a, n in zip(arrays, op.args, strict=False) if n not in op.keep]
    dtypes = [a.dtype for a in kept if hasattr(a, "dtype")]
    numbers = [a for a in kept if not hasattr(a, "dtype")]
    if not dtypes:
        return shape, np.result_type(*numbers)
    return shape, dtypes[0]
