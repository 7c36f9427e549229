"""`torch.special`: special functions of mathematics."""

from __future__ import annotations

from multitorch.ops.maths import (
    digamma,
    entr,
    erf,
    erfc,
    erfcx,
    erfinv,
    exp2,
    expm1,
    gammainc,
    gammaincc,
    i0,
    i0e,
    i1,
    i1e,
    log1p,
    log_ndtr,
    logit,
    ndtr,
    ndtri,
    polygamma,
    round,
    sinc,
    xlog1py,
    xlogy,
    zeta,
)
from multitorch.ops.maths import digamma as psi
from multitorch.ops.maths import lgamma as gammaln
from multitorch.ops.maths import mvlgamma as multigammaln
from multitorch.ops.maths import sigmoid as expit
from multitorch.ops.reduce import logsumexp

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc",
    "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "log1p", "log_ndtr", "logit", "logsumexp",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "sinc", "xlog1py", "xlogy",
    "zeta",
]  # fmt: skip
