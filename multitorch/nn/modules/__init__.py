"""The paths of PyTorch's layers, ``nn.modules.conv`` and so on, as names of this package's."""

from __future__ import annotations

import sys

from multitorch.nn import (
    activation,
    container,
    conv,
    dropout,
    embedding,
    flatten,
    linear,
    loss,
    module,
    normalization,
    padding,
    pooling,
    rearrange,
)
from multitorch.nn.module import Module as Module
from multitorch.nn.modules import utils as utils

batchnorm = instancenorm = normalization
sparse = embedding
distance = loss
pixelshuffle = channelshuffle = fold = rearrange

_PATHS = {
    "activation": activation,
    "batchnorm": batchnorm,
    "channelshuffle": channelshuffle,
    "container": container,
    "conv": conv,
    "distance": distance,
    "dropout": dropout,
    "flatten": flatten,
    "fold": fold,
    "instancenorm": instancenorm,
    "linear": linear,
    "loss": loss,
    "module": module,
    "normalization": normalization,
    "padding": padding,
    "pixelshuffle": pixelshuffle,
    "pooling": pooling,
    "sparse": sparse,
}
for _name, _module in _PATHS.items():
    sys.modules[f"{__name__}.{_name}"] = _module
