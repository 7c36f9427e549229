"""multitorch: PyTorch's eager programming model in pure Python, on NumPy and XLA.

>>> import multitorch as torch
>>> x = torch.ones(2, requires_grad=True)
>>> (x * 3).sum().backward()
>>> x.grad
tensor([3., 3.])
"""

from __future__ import annotations

from importlib import import_module
from math import e, inf, nan, pi
from typing import Any

from multitorch import autograd, dtypes
from multitorch.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from multitorch.device import device, get_default_device, set_default_device
from multitorch.dtypes import dtype as dtype
from multitorch.dtypes import finfo, get_default_dtype, iinfo, set_default_dtype
from multitorch.layout import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    sparse_coo,
    strided,
)
from multitorch.ops import families
from multitorch.printing import set_printoptions
from multitorch.promotion import can_cast, promote_types, result_type
from multitorch.size import Size
from multitorch.tensor import Tensor

__version__ = "0.1.0"

for _module in families.modules():
    globals().update(getattr(_module, "FUNCTIONS", {}))
globals().update(dtypes.NAMES)

_LAZY = (
    "nn", "optim", "utils", "random", "cuda", "compiler", "accelerator", "backends", "graph",
    "testing", "linalg", "masked", "special", "version", "fft", "signal", "tpu", "types",
)  # fmt: skip
_LAZY_NAMES = {
    "Generator": "random", "manual_seed": "random", "seed": "random", "initial_seed": "random",
    "get_rng_state": "random", "set_rng_state": "random", "default_generator": "random",
    "compile": "graph", "compare": "graph.compare",
    "set_float32_matmul_precision": "numerics", "get_float32_matmul_precision": "numerics",
}  # fmt: skip

newaxis = None


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return import_module(f"multitorch.{name}")
    if name in _LAZY_NAMES:
        found = getattr(import_module(f"multitorch.{_LAZY_NAMES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'multitorch' has no attribute {name!r}")
