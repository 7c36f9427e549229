"""Making tensors by a rule: ranges, identity matrices, triangles, powers."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isfinite
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.device import resolve
from multitorch.dtypes import dtype as DType
from multitorch.dtypes import to_dtype
from multitorch.ops.creation import anchor, finish, from_host
from multitorch.ops.op import Op

# --- ranges ---------------------------------------------------------------------------------------

_arange = Op("arange", "x start step", shape=lambda x, *a, size: ((size,), x.dtype)).nondiff()
_eye = Op("eye", "x", shape=lambda x, *, n, m: ((n, m), x.dtype)).nondiff()
_linspace = Op("linspace", "x start stop", shape=lambda x, *a, size: ((size,), x.dtype)).nondiff()


def _numbers(*values: Any) -> list[Any]:
    return [v.item() if hasattr(v, "item") else v for v in values]


def arange(
    start: Any = 0, end: Any = None, step: Any = 1, *, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Return the numbers from `start` up to, without, `end`, `step` apart.

    >>> arange(1, 2.5, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    if end is None:
        start, end = 0, start
    start, end, step = _numbers(start, end, step)
    if dtype is not None:
        kind = to_dtype(dtype)
    elif out is not None:
        kind = out._dtype
    else:
        whole = all(isinstance(v, int) for v in (start, end, step))
        kind = dtypes.int64 if whole else dtypes.get_default_dtype()
    size = _range_size(start, end, step, kind)
    dev = resolve(device) if out is None else out._dev
    result = _range(start, step, size, kind, dev)
    return finish(result, requires_grad) if out is None else out._store(result)


def _range(start: Any, step: Any, size: int, kind: DType, dev: Any) -> Any:
    if kind.category == dtypes.INTEGER:
        start, step = int(start), int(step)
    elif kind is dtypes.bool_:
        raise NotImplementedError("\"arange_cpu_out\" not implemented for 'Bool'")
    else:
        start, step = float(start), float(step)
    return _arange(anchor(dev, kind), start, step, size=size)


def _range_size(start: Any, end: Any, step: Any, kind: DType) -> int:
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (isfinite(start) and isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if kind is dtypes.int64:  # PyTorch counts with whole numbers for this dtype alone
        start, end, step = int(start), int(end), int(step)
        if not step:
            raise ValueError("step must be nonzero")
        return max(-(-(end - start) // step), 0)
    return ceil((end - start) / step)


def range_(
    start: Any = 0, end: Any = None, step: Any = 1, *, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Return the numbers from `start` to `end`, both included (deprecated: use `arange`)."""
    start, end, step = _numbers(start, end, step)
    kind = _line_dtype(start, end, dtype, out)
    size = int((end - start) / step + 1)
    result = _range(start, step, size, kind, resolve(device) if out is None else out._dev)
    return finish(result, requires_grad) if out is None else out._store(result)


def _steps(name: str, steps: Any) -> int:
    if not hasattr(steps, "__index__"):
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}")
    return steps.__index__()


def linspace(
    start: Any, end: Any, steps: int | None = None, *, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Return `steps` evenly spaced numbers from `start` to `end`, both included.

    >>> linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    start, end = _numbers(start, end)
    if steps is None:
        raise TypeError('linspace() missing 1 required positional arguments: "steps"')
    steps = _steps("linspace", steps)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    kind = _line_dtype(start, end, dtype, out)
    dev = resolve(device) if out is None else out._dev
    start, end = _ends(start, end, kind)
    result = _linspace(anchor(dev, kind), start, end, size=steps)
    return finish(result, requires_grad) if out is None else out._store(result)


def _ends(start: Any, end: Any, kind: DType) -> tuple[Any, Any]:
    """Return the ends of a line as numbers of its dtype, before there is anything between them."""
    if kind.is_complex:
        return complex(start), complex(end)
    if kind.category == dtypes.INTEGER:
        start, end = int(start), int(end)
    return float(start), float(end)


def _line_dtype(start: Any, end: Any, dtype: Any, out: Any) -> DType:
    if dtype is not None:
        return to_dtype(dtype)
    if out is not None:
        return out._dtype
    kind = dtypes.get_default_dtype()
    return kind.to_complex() if isinstance(start, complex) or isinstance(end, complex) else kind


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Any = None, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Return `steps` numbers from `base**start` to `base**end`, evenly spaced on a log scale."""
    start, end = _numbers(start, end)
    steps = _steps("logspace", steps)
    kind = _line_dtype(start, end, dtype, out)
    wide = dtypes.complex128 if kind.is_complex else dtypes.float64
    start, end = _ends(start, end, kind)
    exponents = linspace(start, end, steps, dtype=wide, device=device if out is None else out._dev)
    result = (float(base) ** exponents).to(kind)
    return finish(result, requires_grad) if out is None else out._store(result)


# --- patterns -------------------------------------------------------------------------------------


def eye(
    n: int, m: int | None = None, *, out: Any = None, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Any:  # fmt: skip
    """Return a matrix with ones on the diagonal.

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    m = n if m is None else m
    if n < 0 or m < 0:
        raise RuntimeError(f"n must be greater or equal to 0, got {min(n, m)}")
    kind = dtypes.get_default_dtype() if dtype is None else to_dtype(dtype)
    if out is not None:
        kind = out._dtype
    dev = resolve(device) if out is None else out._dev
    result = _eye(anchor(dev, kind), n=n, m=m)
    return finish(result, requires_grad) if out is None else out._store(result)


def _triangle_indices(keep: np.ndarray, dtype: Any, device: Any) -> Any:
    kind = dtypes.int64 if dtype is None else to_dtype(dtype)
    return from_host(np.stack(np.nonzero(keep)).astype(kind.numpy()), resolve(device))


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None,
    layout: Any = None,
) -> Any:  # fmt: skip
    """Return the indices of the lower triangle of a row × col matrix, as two rows."""
    return _triangle_indices(np.tri(row, col, offset, bool), dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None,
    layout: Any = None,
) -> Any:  # fmt: skip
    """Return the indices of the upper triangle of a row × col matrix, as two rows."""
    return _triangle_indices(~np.tri(row, col, offset - 1, bool), dtype, device)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Return the powers of a vector's elements, one power per column."""
    n = x._a.shape[0] if N is None else N
    powers = arange(n, device=x._dev)
    return x.unsqueeze(-1) ** (powers if increasing else powers.flip(0))


FUNCTIONS: dict[str, Callable] = {
    "arange": arange, "eye": eye, "linspace": linspace, "logspace": logspace, "range": range_,
    "tril_indices": tril_indices, "triu_indices": triu_indices, "vander": vander,
}  # fmt: skip
