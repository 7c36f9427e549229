"""Softmax over very many classes, of which few are frequent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from multitorch.nn import functional as F
from multitorch.nn.container import ModuleList, Sequential
from multitorch.nn.linear import Linear
from multitorch.nn.module import Module
from multitorch.ops.creation import zeros_like
from multitorch.ops.join import cat
from multitorch.tensor import Tensor


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax in clusters: a head of frequent classes, tails of rare ones in fewer dimensions.

    `cutoffs` are the first classes of the tails; tail i is projected to
    `in_features / div_value^(i+1)` features. Returns the log-probabilities (N) of the targets and
    the mean loss.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        bounds = list(cutoffs)
        if not bounds:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = bounds == sorted(bounds) and len(set(bounds)) == len(bounds)
        if not rising or min(bounds) <= 0 or max(bounds) > n_classes - 1 or (
            any(int(c) != c for c in bounds)
        ):  # fmt: skip
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*bounds, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        factory = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **factory)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            width = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **factory),
                    Linear(width, size, bias=False, **factory),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for down, out in self.tail:  # type: ignore[misc]
            down.reset_parameters()
            out.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        x, target = self._checked(input_, target_)
        head = F.log_softmax(self.head(x), dim=1)
        found = self._find(x, target, head)
        loss = (-found).mean()
        return _ASMoutput(found if target_.dim() else found.squeeze(0), loss)

    def _checked(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if target.dim() == 1:
            if x.size(0) != target.size(0):
                raise RuntimeError(
                    "Input and target should have the same size in the batch dimension."
                )
            if x.dim() != 2:
                raise RuntimeError("1D target tensor expects 2D input tensors, but found inputs")
        elif target.dim() == 0:
            if x.dim() != 1:
                raise RuntimeError("0D target tensor expects 1D input tensors, but found inputs")
            x, target = x.unsqueeze(0), target.unsqueeze(0)
        else:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{int(target.min())}, {int(target.max())}] were found. "
            )
        return x, target

    def _find(self, x: Tensor, target: Tensor, head: Tensor) -> Tensor:
        """Return the targets' log-probabilities; each tail is run on its own rows only."""
        found = zeros_like(head[:, 0])
        bounds = [0, *self.cutoffs]
        for i, (low, high) in enumerate(zip(bounds, bounds[1:], strict=False)):
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if not rows.numel():
                continue
            index = (target.index_select(0, rows) - low).unsqueeze(1)
            given = head.index_select(0, rows)
            if i == 0:
                part = given.gather(1, index).squeeze(1)
            else:
                tail = F.log_softmax(self.tail[i - 1](x.index_select(0, rows)), dim=1)
                part = tail.gather(1, index).squeeze(1) + given[:, self.shortlist_size + i - 1]
            found = found.index_add(0, rows, part)
        return found

    def log_prob(self, input: Tensor) -> Tensor:
        """Return the log-probabilities of all classes: (N, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        out = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            inner = F.log_softmax(tail(input), dim=1)
            out.append(inner + head[:, self.shortlist_size + i].unsqueeze(1))
        return cat(out, 1)

    def predict(self, input: Tensor) -> Tensor:
        """Return the most probable classes: (N)."""
        return self.log_prob(input).argmax(1)
