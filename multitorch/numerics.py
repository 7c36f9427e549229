"""How exact products of float32 matrices are where the hardware has a faster, coarser way."""

from __future__ import annotations

from multitorch.backend import registry


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how exact products and convolutions of float32 data are on accelerators.

    "highest" (the default) computes in full float32; "high" in tensor cores' 19 bits on a GPU and
    three passes of bfloat16 on a TPU; "medium" in bfloat16. Kernels and programs that have been
    compiled are compiled again. NumPy and XLA's CPU compiler always compute in float32.

    Raises RuntimeError for any other word.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.set_float32_matmul_precision.html

    >>> multitorch.set_float32_matmul_precision("highest")
    """
    if precision not in registry.MATMUL_PRECISIONS:
        raise RuntimeError(
            f"Float32 matmul precision {precision!r} is not supported: expected one of "
            f"{', '.join(registry.MATMUL_PRECISIONS)}"
        )
    registry.set_matmul_precision(precision)


def get_float32_matmul_precision() -> str:
    """Return how exact products of float32 data are: "highest", "high" or "medium".

    >>> multitorch.get_float32_matmul_precision()
    'highest'
    """
    return registry.matmul_precision
