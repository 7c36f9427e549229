"""What is known to differ from PyTorch: reason -> lines of `property op device`.

`*` stands for anything. Each entry is a strict expected failure: remove what has come to work.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase

GAPS: dict[str, str] = {
    "NumPy has no complex numbers of half precision": """
        * chalf *
    """,
    "sparse tensors do not exist here": """
        forward-float32 nn.functional.embedding cpu
        forward-bfloat16 nn.functional.embedding cpu
    """,
    "not implemented for complex numbers": """
        forward-complex64 logaddexp cpu
        forward-complex64 logcumsumexp cpu
        forward-complex64 nn.functional.silu-complex cpu
        gradient-complex logaddexp cpu
        gradient-complex logcumsumexp cpu
        inplace nn.functional.silu-complex *
    """,
    "not implemented for booleans, or computed in integers": """
        forward-bool addr cpu
        forward-bool nn.functional.unfold cpu
    """,
    "composite of half-precision steps; PyTorch computes it in single precision": """
        forward-bfloat16 gradient cpu
        forward-bfloat16 nn.functional.scaled_dot_product_attention cpu
    """,
    "PyTorch's gradient is wrong: what src overwrites has none": """
        gradient as_strided_scatter cpu
        gradient-complex as_strided_scatter cpu
        gradient-second as_strided_scatter cpu
    """,
    "as_strided of a leaf that is itself a view goes by the storage, past the leaf": """
        gradient as_strided-partial_views cpu
        gradient-complex as_strided-partial_views cpu
        gradient-second as_strided-partial_views cpu
    """,
    "rounding: the second derivative of a quotient of small numbers": """
        gradient-second cov cpu
    """,
    "the derivative of a full decomposition is refused": """
        gradient svd cpu
        gradient-complex svd cpu
        gradient-second svd cpu
    """,
    "at a zero vector PyTorch's second derivative is NaN, ours 0": """
        gradient-second linalg.norm cpu
        gradient-second linalg.norm-subgradients_at_zero cpu
    """,
    "a norm over a dimension without elements is refused": """
        forward-float32 linalg.norm-subgradients_at_zero cpu
        forward-complex64 linalg.norm-subgradients_at_zero cpu
        out linalg.norm-subgradients_at_zero cpu
    """,
    "out= that PyTorch's documentation does not mention": """
        out isin cpu
        out narrow_copy cpu
        out nn.functional.avg_pool2d cpu
        out nn.functional.avg_pool3d cpu
        out nn.functional.gelu cpu
        out nn.functional.hardshrink cpu
        out nn.functional.linear cpu
        out nn.functional.softplus cpu
        out nn.functional.softshrink cpu
        out slice_scatter cpu
    """,
    "an out= that overlaps an operand is not refused: the result is right all the same": """
        errors cat cpu
        errors gather cpu
        errors index_select cpu
        errors kthvalue cpu
        errors masked_select cpu
        errors take cpu
    """,
    "NumPy arrays have at most 64 dimensions": """
        errors aminmax cpu
        errors amax cpu
        errors amin cpu
    """,
    "narrow_copy raises the IndexError of narrow": """
        errors narrow_copy cpu
    """,
    "a number is taken where PyTorch wants a tensor": """
        errors __radd__ cpu
        errors __rand__ cpu
        errors __rmul__ cpu
        errors __ror__ cpu
        errors __rxor__ cpu
        errors clamp_max cpu
        errors clamp_min cpu
        errors copysign cpu
        errors eq cpu
        errors fmod cpu
        errors gcd cpu
        errors ge cpu
        errors gt cpu
        errors lcm cpu
        errors ldexp cpu
        errors le cpu
        errors logical_and cpu
        errors logical_or cpu
        errors logical_xor cpu
        errors lt cpu
        errors ne cpu
        errors rsub cpu
    """,
}


@functools.cache
def _table() -> list[tuple[str, str, str, str]]:
    lines = [(line.split(), reason) for reason, text in GAPS.items() for line in text.splitlines()]
    return [(*fields, reason) for fields, reason in lines if fields]


def gap(property: str, op: str, device: str) -> str | None:
    """Return why a check is known to fail, None if it is not."""
    for a, b, c, reason in _table():
        if b in (op, "*") and fnmatchcase(property, a) and fnmatchcase(device, c):
            return reason
    return None
