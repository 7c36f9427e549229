"""Helpers for training: clipping gradients, parameters as one vector, parametrizations, packing."""

from __future__ import annotations

from multitorch.nn.utils import parametrizations, parametrize, rnn, stateless
from multitorch.nn.utils.clip_grad import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from multitorch.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from multitorch.nn.utils.fusion import (
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)
from multitorch.nn.utils.init import skip_init
from multitorch.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from multitorch.nn.utils.weight_norm import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "skip_init",
    "spectral_norm",
    "stateless",
    "vector_to_parameters",
    "weight_norm",
]
