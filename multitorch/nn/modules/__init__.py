"""The paths of PyTorch's layers, ``nn.modules.conv`` and so on, as names of this package's."""

from __future__ import annotations

import sys

from multitorch.nn import (
    activation,
    adaptive,
    container,
    conv,
    dropout,
    embedding,
    flatten,
    lazy,
    linear,
    loss,
    module,
    normalization,
    padding,
    pooling,
    rearrange,
    rnn,
    transformer,
    upsampling,
)
from multitorch.nn.module import Module as Module
from multitorch.nn.modules import utils as utils

batchnorm = instancenorm = normalization
sparse = embedding
distance = loss
pixelshuffle = channelshuffle = fold = rearrange

_PATHS = {
    "activation": activation,
    "adaptive": adaptive,
    "batchnorm": batchnorm,
    "channelshuffle": channelshuffle,
    "container": container,
    "conv": conv,
    "distance": distance,
    "dropout": dropout,
    "flatten": flatten,
    "fold": fold,
    "instancenorm": instancenorm,
    "lazy": lazy,
    "linear": linear,
    "loss": loss,
    "module": module,
    "normalization": normalization,
    "padding": padding,
    "pixelshuffle": pixelshuffle,
    "pooling": pooling,
    "rnn": rnn,
    "sparse": sparse,
    "transformer": transformer,
    "upsampling": upsampling,
}
for _name, _module in _PATHS.items():
    sys.modules[f"{__name__}.{_name}"] = _module
