"""Reverse-mode differentiation: the tape, the engine, grad modes, `Function`, `gradcheck`."""

from __future__ import annotations

from multitorch.autograd.function import Function, once_differentiable
from multitorch.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from multitorch.autograd.interface import backward, grad
from multitorch.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
