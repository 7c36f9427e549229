"""Switches of cuDNN that programs set; XLA makes these choices itself."""

enabled = True
benchmark = False
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Return False: kernels come from XLA."""
    return False
