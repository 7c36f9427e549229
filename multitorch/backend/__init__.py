"""The contract between the front end and the backends: everything a backend may import."""

from multitorch.backend.contract import Backend, KernelNotFound, RuleCall, World

__all__ = ["Backend", "KernelNotFound", "RuleCall", "World"]
