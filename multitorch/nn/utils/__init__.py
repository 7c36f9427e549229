"""Helpers for training: clipping gradients, parameters as one vector."""

from __future__ import annotations

from multitorch.nn.utils.clip_grad import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from multitorch.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from multitorch.nn.utils.init import skip_init

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "skip_init",
    "vector_to_parameters",
]
