"""Optimizers and learning-rate schedulers."""

from multitorch.optim import lr_scheduler as lr_scheduler
from multitorch.optim import swa_utils as swa_utils
from multitorch.optim.adafactor import Adafactor as Adafactor
from multitorch.optim.adam import Adam as Adam
from multitorch.optim.adam import AdamW as AdamW
from multitorch.optim.adam_kin import Adamax as Adamax
from multitorch.optim.adam_kin import NAdam as NAdam
from multitorch.optim.adam_kin import RAdam as RAdam
from multitorch.optim.adaptive import Adadelta as Adadelta
from multitorch.optim.adaptive import Adagrad as Adagrad
from multitorch.optim.adaptive import RMSprop as RMSprop
from multitorch.optim.asgd import ASGD as ASGD
from multitorch.optim.asgd import Rprop as Rprop
from multitorch.optim.lbfgs import LBFGS as LBFGS
from multitorch.optim.muon import Muon as Muon
from multitorch.optim.optimizer import Optimizer as Optimizer
from multitorch.optim.sgd import SGD as SGD
