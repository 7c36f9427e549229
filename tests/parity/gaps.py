"""What is known to differ from PyTorch: reason -> lines of `property op device`.

`*` stands for anything. Each entry is a strict expected failure: remove what has come to work.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase

GAPS: dict[str, str] = {
    "NumPy has no complex numbers of half precision": """
        * chalf *
        dtypes complex *
        dtypes view_as_complex *
    """,
    "rounding: ours of single precision goes by doubles, or by another series": """
        forward-float32 matrix_exp *
        forward-complex64 matrix_exp *
        method matrix_exp *
    """,
    "PyTorch's overflows in half precision where the result does not": """
        forward-bfloat16 matrix_exp *
    """,
    "PyTorch's gradient is wrong: what src overwrites has none": """
        gradient as_strided_scatter *
        gradient-complex as_strided_scatter *
        gradient-second as_strided_scatter *
    """,
    "as_strided of a leaf that is itself a view goes by the storage, past the leaf": """
        gradient as_strided-partial_views *
        gradient-complex as_strided-partial_views *
        gradient-second as_strided-partial_views *
    """,
    "the sample's window is a view made where gradients are off: PyTorch finds none for it": """
        gradient-complex istft *
    """,
    "the sample's weights are float32: gradients that pass through them are rounded differently": """
        gradient-second cov cpu
    """,
    "PyTorch's chunked path has no second derivative: it returns what misses a part": """
        gradient-second nn.functional.linear_cross_entropy-chunked *
    """,
    "at a zero vector PyTorch's second derivative is NaN, ours 0": """
        gradient-second linalg.norm *
        gradient-second linalg.norm-subgradients_at_zero *
    """,
    "device 'meta' has no numbers, on which the result's shape or the checks of arguments depend": """
        meta index_put *
        meta linspace-tensor_overload *
        meta logspace-tensor_overload *
        meta repeat_interleave *
    """,
    "a running XLA program cannot raise, and to read what it was given first would wait for it: an "
    "index out of range is clamped or dropped, weights are not checked (on CUDA PyTorch's own checks "
    "end the process)": """
        errors gather jax
        errors multinomial jax
        errors scatter jax
        errors scatter_add jax
    """,
}


@functools.cache
def known() -> dict[str, list[list[str]]]:
    """Return the gaps as reason -> [property, op, device]."""
    return {
        reason: [line.split() for line in text.splitlines() if line.strip()]
        for reason, text in GAPS.items()
    }


@functools.cache
def _table() -> list[tuple[str, str, str, str]]:
    return [(a, b, c, reason) for reason, lines in known().items() for a, b, c in lines]


def gap(property: str, op: str, device: str) -> str | None:
    """Return why a check is known to fail, None if it is not; what fails on jax fails on all XLA."""
    backend = "cpu" if device.startswith("cpu") else "jax"
    for a, b, c, reason in _table():
        if b in (op, "*") and fnmatchcase(property, a) and fnmatchcase(backend, c):
            return reason
    return None
