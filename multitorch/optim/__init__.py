"""Optimizers and learning-rate schedulers."""

from multitorch.optim import lr_scheduler as lr_scheduler
from multitorch.optim.adam import Adam as Adam
from multitorch.optim.adam import AdamW as AdamW
from multitorch.optim.optimizer import Optimizer as Optimizer
from multitorch.optim.sgd import SGD as SGD
