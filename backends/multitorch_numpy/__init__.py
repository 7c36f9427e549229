"""The NumPy backend: device "cpu"."""

from multitorch_numpy.backend import NumpyBackend


def load() -> NumpyBackend:
    """Return the backend (the entry point of the group `multitorch.backends`)."""
    return NumpyBackend()


__all__ = ["NumpyBackend", "load"]
