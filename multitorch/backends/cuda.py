"""Switches of CUDA math libraries that programs set; see `set_float32_matmul_precision`."""

from multitorch.numerics import get_float32_matmul_precision, set_float32_matmul_precision


class _Matmul:
    @property
    def allow_tf32(self) -> bool:
        """Whether float32 products may be computed in the 19 bits of TensorFloat-32."""
        return get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        set_float32_matmul_precision("high" if value else "highest")


matmul = _Matmul()


def is_built() -> bool:
    """Return whether JAX sees a CUDA device."""
    from multitorch.cuda import is_available

    return is_available()
