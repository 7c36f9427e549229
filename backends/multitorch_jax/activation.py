"""Activation functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = Any


def relu(x: Array) -> Array:
    return jnp.maximum(x, 0)


def _single(x: Array) -> Array:
    """Return half precision as float32: sums of many terms need it."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def softmax(x: Array, *, dim: int) -> Array:
    return jax.nn.softmax(_single(x), axis=dim).astype(x.dtype) if x.ndim else jnp.exp(x - x)


def log_softmax(x: Array, *, dim: int) -> Array:
    return jax.nn.log_softmax(_single(x), axis=dim).astype(x.dtype) if x.ndim else x - x
