"""DataParallel, for programs that ask for it: one program already drives all of a device."""

from __future__ import annotations

from typing import Any

from multitorch.nn.module import Module


class DataParallel(Module):
    """Hold a module as `module` and call it: the batch is not split.

    The names of parameters get the prefix that PyTorch gives them, so that checkpoints load.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module = module
        self.device_ids = [] if device_ids is None else list(device_ids)
        self.output_device = output_device
        self.dim = dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)
