"""Compiled programs on disk, so that the next process need not compile them again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax

VARIABLE = "MULTITORCH_CACHE"
"""Names another folder; empty: nothing is kept."""


def folder() -> str:
    """Return where programs are kept: `~/.cache/multitorch/xla` unless the variable says else."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return os.environ.get(VARIABLE, str(Path(home) / "multitorch" / "xla"))


def keep_programs() -> None:
    """Let JAX keep what takes it over a second to compile, unless the user has chosen a folder."""
    place = folder()
    if not place or getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written to
    jax.config.update("jax_compilation_cache_dir", place)


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Compile anew in this block.

    JAX keeps programs for absent devices, but cannot read them; and what it keeps has the scopes of
    the program that came first, be they others.
    """
    from jax.experimental.compilation_cache import compilation_cache

    before = jax.config.jax_enable_compilation_cache  # pyright: ignore
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
