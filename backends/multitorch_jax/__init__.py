"""The JAX backend: devices "jax" (JAX's default platform), "cuda" and "tpu"."""

from multitorch_jax.backend import JaxBackend

_backend: list[JaxBackend] = []


def load() -> JaxBackend:
    """Return the backend (the entry point of the group `multitorch.backends`)."""
    if not _backend:
        _backend.append(JaxBackend())
    return _backend[0]


__all__ = ["JaxBackend", "load"]
