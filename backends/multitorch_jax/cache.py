"""Compiled programs on disk, so that the next process need not compile them again."""

from __future__ import annotations

import os
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
