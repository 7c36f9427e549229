"""Switches of CUDA math libraries that programs set; see `set_float32_matmul_precision`."""


class _Matmul:
    """Accepts `allow_tf32` as an attribute."""

    allow_tf32 = False


matmul = _Matmul()


def is_built() -> bool:
    """Return whether JAX sees a CUDA device."""
    from multitorch.cuda import is_available

    return is_available()
