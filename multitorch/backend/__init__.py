"""The contract between the front end and the backends: everything a backend may import."""

from multitorch.backend.contract import Backend, KernelNotFound, LinAlgError, RuleCall, World

__all__ = ["Backend", "KernelNotFound", "LinAlgError", "RuleCall", "World"]
