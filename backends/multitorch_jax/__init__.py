"""The JAX backend: devices "jax" (JAX's default platform), "cuda" and "tpu"."""

from multitorch_jax.backend import JaxBackend
from multitorch_jax.cache import keep_programs

_backend: list[JaxBackend] = []


def load() -> JaxBackend:
    """Return the backend (the entry point of the group `multitorch.backends`)."""
    if not _backend:
        keep_programs()
        _backend.append(JaxBackend())
    return _backend[0]


__all__ = ["JaxBackend", "load"]
