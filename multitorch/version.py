"""`multitorch.version`."""

from multitorch import __version__

cuda: str | None = None
hip: str | None = None
__all__ = ["__version__", "cuda", "hip"]
