"""How an optimizer's state begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch.ops import apply as dispatch
from multitorch.tensor import Tensor


def new_state(p: Tensor, shape: Any = None, value: Any = 0, dtype: Any = None) -> Tensor:
    """Return a tensor filled with one value beside a parameter; it has the parameter's shape.

    Inside `compile` it is an array that was there before the recording: an input of the program,
    not a constant. So the first step, in which the state begins, is the program of all later ones.
    """
    shape = p.shape if shape is None else shape
    dev, dtype = p._dev, dtype or p.dtype
    if not dispatch.world_for(dev).records:
        return p.new_full(shape, value, dtype=dtype)
    a = np.full(tuple(shape), value, dtype.numpy())
    return dispatch.wrap(dev.backend.put(a, type=dev.type, index=dev.ordinal), dev)
