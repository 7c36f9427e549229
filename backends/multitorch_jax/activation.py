"""Activation functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

Array = Any


def relu(x: Array) -> Array:
    return jnp.maximum(x, 0)


def softmax(x: Array, *, dim: int) -> Array:
    return jax.nn.softmax(x, axis=dim) if x.ndim else jnp.exp(x - x)


def log_softmax(x: Array, *, dim: int) -> Array:
    return jax.nn.log_softmax(x, axis=dim) if x.ndim else x - x
