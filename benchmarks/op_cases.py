"""The ops that `benchmarks.ops` measures: what people use most, of every family.

Every case is written over the operands `o` of one library, whose shapes follow from `o.n`, about
how many elements the largest operand has. What costs more than a few passes over memory takes its
operands in many small pieces, so that every case ends in a second or so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np


class Operands:
    """Operands of one size as tensors of one library on one device, made when they are asked for.

    Matrices have rows of up to 1,024 numbers; `half` and `pixels` leave room for results that are
    larger than what they are made of.
    """

    def __init__(self, lib: Any, device: str, n: int) -> None:
        self.lib, self.device, self.n = lib, device, n
        self.F = lib.nn.functional
        self.width = min(1024, int(n**0.5))
        self.rows = n // self.width

    def tensor(self, *shape: int, seed: int = 0) -> Any:
        """Return normal random numbers."""
        values = np.random.default_rng(seed).standard_normal(shape, np.float32)
        return self.lib.tensor(values, device=self.device)

    def integers(self, most: int, *shape: int) -> Any:
        """Return random integers below a bound."""
        values = np.random.default_rng(0).integers(0, most, shape)
        return self.lib.tensor(values, device=self.device)

    @cached_property
    def x(self) -> Any:
        return self.tensor(self.rows, self.width)

    @cached_property
    def y(self) -> Any:
        return self.tensor(self.rows, self.width, seed=1)

    @cached_property
    def positive(self) -> Any:
        return self.x.abs() + 0.5

    @cached_property
    def row(self) -> Any:
        return self.tensor(self.width)

    @cached_property
    def flat(self) -> Any:
        return self.x.reshape(-1)

    @cached_property
    def mask(self) -> Any:
        return self.x > 0

    @cached_property
    def labels(self) -> Any:
        return self.integers(self.width, self.rows)

    @cached_property
    def places(self) -> Any:
        return self.integers(self.width, self.rows, self.width)

    @cached_property
    def shuffled(self) -> Any:
        return self.integers(self.rows, self.rows)

    @cached_property
    def square(self) -> Any:
        side = min(256, self.width)
        return self.tensor(side, side)

    @cached_property
    def thin(self) -> Any:
        """As many rows as fill the size when each is as wide as `square`."""
        side = self.square.shape[0]
        return self.tensor(self.n // side, side)

    @cached_property
    def cube(self) -> Any:
        """Matrices of 32x32."""
        return self.tensor(max(self.n // 1024, 1), 32, 32)

    @cached_property
    def definite(self) -> Any:
        eye = self.lib.eye(32, device=self.device)
        return self.cube @ self.cube.transpose(1, 2) + eye

    @cached_property
    def few(self) -> Any:
        """An eighth as many matrices, for the slow decompositions."""
        return self.cube[: max(len(self.cube) // 8, 1)]

    @cached_property
    def points(self) -> Any:
        return self.tensor(max(int(self.n**0.5), 32), 16)

    @cached_property
    def images(self) -> Any:
        """16 channels of 8x8 pixels, or more of them: (N, 16, H, H)."""
        side = 32 if self.n >= 1 << 16 else 8
        return self.tensor(max(self.n // (16 * side * side), 1), 16, side, side)

    @cached_property
    def signals(self) -> Any:
        length = 256 if self.n >= 1 << 16 else 64
        return self.tensor(max(self.n // (16 * length), 1), 16, length)

    @cached_property
    def filters(self) -> Any:
        return self.tensor(16, 16, 3, 3)

    @cached_property
    def filters1d(self) -> Any:
        return self.tensor(16, 16, 3)

    @cached_property
    def depthwise(self) -> Any:
        return self.tensor(16, 1, 3, 3)

    @cached_property
    def channel(self) -> Any:
        return self.tensor(16)

    @cached_property
    def grid(self) -> Any:
        n, _, h, w = self.images.shape
        return self.tensor(n, h, w, 2).clamp(-1, 1)

    @cached_property
    def heads(self) -> Any:
        """Queries of 4 heads: (N, 4, 64, 32)."""
        length = 64 if self.n >= 1 << 16 else 8
        return self.tensor(max(self.n // (4 * length * 32), 1), 4, length, 32)

    @cached_property
    def table(self) -> Any:
        return self.tensor(1000, 64)

    @cached_property
    def tokens(self) -> Any:
        return self.integers(1000, max(self.n // 64, 1))

    @cached_property
    def frames(self) -> Any:
        """Log-probabilities of 20 classes for sequences of 50 steps: (50, N, 20)."""
        return self.tensor(50, max(self.n // 1000, 1), 20).log_softmax(2)

    @cached_property
    def spelled(self) -> Any:
        return self.integers(19, self.frames.shape[1], 10) + 1


Expression = Callable[[Operands], Any]


def trained(expression: Expression, *leaves: str) -> Expression:
    """Return forward and backward of an expression, as a training step runs them."""

    def both(o: Operands) -> Any:
        for name in leaves:
            getattr(o, name).requires_grad_()
        expression(o).sum().backward()
        gradients = [getattr(o, name).grad for name in leaves]
        for name in leaves:
            getattr(o, name).grad = None
            getattr(o, name).requires_grad_(False)
        return gradients

    return both


def _batch_norm(o: Operands) -> Any:
    return o.F.batch_norm(o.images, None, None, o.channel, o.channel, True)


def _grid_sample(o: Operands) -> Any:
    return o.F.grid_sample(o.images, o.grid, align_corners=False)


def _ctc_loss(o: Operands) -> Any:
    steps, batch, _ = o.frames.shape
    return o.F.ctc_loss(o.frames, o.spelled, [steps] * batch, [10] * batch)


def _conv2d(o: Operands) -> Any:
    return o.F.conv2d(o.images, o.filters, o.channel, padding=1)


def _upsampled(o: Operands) -> Any:
    return o.F.interpolate(o.images, scale_factor=2, mode="bilinear")


CASES: dict[str, dict[str, Expression]] = {
    "pointwise": {
        "x + y": lambda o: o.x + o.y,
        "x * row": lambda o: o.x * o.row,
        "x / y": lambda o: o.x / o.positive,
        "x ** 2": lambda o: o.x**2,
        "exp": lambda o: o.x.exp(),
        "log": lambda o: o.positive.log(),
        "sqrt": lambda o: o.positive.sqrt(),
        "sin": lambda o: o.x.sin(),
        "sigmoid": lambda o: o.x.sigmoid(),
        "tanh": lambda o: o.x.tanh(),
        "relu": lambda o: o.x.relu(),
        "gelu": lambda o: o.F.gelu(o.x),
        "silu": lambda o: o.F.silu(o.x),
        "clamp": lambda o: o.x.clamp(-1, 1),
        "where": lambda o: o.lib.where(o.mask, o.x, o.y),
        "masked_fill": lambda o: o.x.masked_fill(o.mask, 0.0),
        "x > y": lambda o: o.x > o.y,
        "to(float64)": lambda o: o.x.to(o.lib.float64),
        "to(bfloat16)": lambda o: o.x.to(o.lib.bfloat16),
    },
    "reduction": {
        "sum": lambda o: o.x.sum(),
        "sum(0)": lambda o: o.x.sum(0),
        "mean(-1)": lambda o: o.x.mean(-1),
        "std(-1)": lambda o: o.x.std(-1),
        "max(-1)": lambda o: o.x.max(-1),
        "amax(0)": lambda o: o.x.amax(0),
        "argmax(-1)": lambda o: o.x.argmax(-1),
        "any(-1)": lambda o: o.mask.any(-1),
        "norm": lambda o: o.x.norm(),
        "logsumexp(-1)": lambda o: o.x.logsumexp(-1),
        "cumsum(-1)": lambda o: o.x.cumsum(-1),
    },
    "order": {
        "sort(-1)": lambda o: o.x.sort(-1),
        "topk(10)": lambda o: o.x.topk(10),
        "median(-1)": lambda o: o.x.median(-1),
        "unique": lambda o: o.places.unique(),
    },
    "index": {
        "x[index]": lambda o: o.x[o.shuffled],
        "x[mask]": lambda o: o.x[o.mask],
        "index_select(1)": lambda o: o.x.index_select(1, o.labels[: o.width]),
        "gather(1)": lambda o: o.x.gather(1, o.places),
        "scatter(1)": lambda o: o.x.scatter(1, o.places, o.y),
        "scatter_add(1)": lambda o: o.x.scatter_add(1, o.places, o.y),
        "index_add(0)": lambda o: o.x.index_add(0, o.shuffled, o.y),
        "embedding": lambda o: o.F.embedding(o.tokens, o.table),
        "one_hot": lambda o: o.F.one_hot(o.labels, o.width),
        "nonzero": lambda o: o.mask.nonzero(),
    },
    "shape": {
        "cat(1)": lambda o: o.lib.cat([o.x, o.y], 1),
        "stack": lambda o: o.lib.stack([o.x, o.y]),
        "t().contiguous()": lambda o: o.x.t().contiguous(),
        "flip(1)": lambda o: o.x.flip(1),
        "roll": lambda o: o.x.roll(3, 1),
        "repeat(2, 1)": lambda o: o.x.repeat(2, 1),
        "pad": lambda o: o.F.pad(o.x, (1, 1, 1, 1)),
        "tril": lambda o: o.x.tril(),
    },
    "matmul": {
        "mm": lambda o: o.thin @ o.square,
        "bmm": lambda o: o.lib.bmm(o.cube, o.cube),
        "linear": lambda o: o.F.linear(o.thin, o.square, o.square[0]),
        "einsum bij,bkj->bik": lambda o: o.lib.einsum("bij,bkj->bik", o.cube, o.cube),
        "cdist": lambda o: o.lib.cdist(o.points, o.points),
        "cdist, p=1": lambda o: o.lib.cdist(o.points, o.points, 1.0),
    },
    "nn": {
        "conv1d": lambda o: o.F.conv1d(o.signals, o.filters1d, padding=1),
        "conv2d": _conv2d,
        "conv2d, depthwise": lambda o: o.F.conv2d(o.images, o.depthwise, padding=1, groups=16),
        "conv_transpose2d": lambda o: o.F.conv_transpose2d(o.images, o.filters, padding=1),
        "max_pool2d": lambda o: o.F.max_pool2d(o.images, 2),
        "avg_pool2d": lambda o: o.F.avg_pool2d(o.images, 3, 1, 1),
        "adaptive_avg_pool2d": lambda o: o.F.adaptive_avg_pool2d(o.images, 4),
        "batch_norm": _batch_norm,
        "layer_norm": lambda o: o.F.layer_norm(o.x, (o.width,), o.row, o.row),
        "group_norm": lambda o: o.F.group_norm(o.images, 4, o.channel, o.channel),
        "softmax": lambda o: o.x.softmax(-1),
        "log_softmax": lambda o: o.x.log_softmax(-1),
        "cross_entropy": lambda o: o.F.cross_entropy(o.x, o.labels),
        "mse_loss": lambda o: o.F.mse_loss(o.x, o.y),
        "attention": lambda o: o.F.scaled_dot_product_attention(o.heads, o.heads, o.heads),
        "interpolate": _upsampled,
        "grid_sample": _grid_sample,
        "unfold": lambda o: o.F.unfold(o.images, 3, padding=1),
        "ctc_loss": _ctc_loss,
    },
    "fft": {
        "rfft": lambda o: o.lib.fft.rfft(o.x),
        "fft2": lambda o: o.lib.fft.fft2(o.images),
    },
    "linalg": {
        "solve": lambda o: o.lib.linalg.solve(o.definite, o.cube),
        "inv": lambda o: o.lib.linalg.inv(o.definite),
        "cholesky": lambda o: o.lib.linalg.cholesky(o.definite),
        "qr": lambda o: o.lib.linalg.qr(o.few),
        "svd": lambda o: o.lib.linalg.svd(o.few),
        "eigh": lambda o: o.lib.linalg.eigh(o.few),
        "lu_factor": lambda o: o.lib.linalg.lu_factor(o.cube),
        "lstsq": lambda o: o.lib.linalg.lstsq(o.few, o.few).solution,
    },
    "random": {
        "rand": lambda o: o.lib.rand_like(o.x),
        "randn": lambda o: o.lib.randn_like(o.x),
        "dropout": lambda o: o.F.dropout(o.x),
    },
    "backward": {
        "linear, backward": trained(
            lambda o: o.F.linear(o.thin, o.square, o.square[0]), "thin", "square"
        ),
        "conv2d, backward": trained(_conv2d, "images", "filters"),
        "max_pool2d, backward": trained(lambda o: o.F.max_pool2d(o.images, 2), "images"),
        "batch_norm, backward": trained(_batch_norm, "images", "channel"),
        "layer_norm, backward": trained(lambda o: o.F.layer_norm(o.x, (o.width,), o.row), "x"),
        "gelu, backward": trained(lambda o: o.F.gelu(o.x), "x"),
        "cross_entropy, backward": trained(lambda o: o.F.cross_entropy(o.x, o.labels), "x"),
        "embedding, backward": trained(lambda o: o.F.embedding(o.tokens, o.table), "table"),
        "interpolate, backward": trained(_upsampled, "images"),
        "grid_sample, backward": trained(_grid_sample, "images", "grid"),
        "ctc_loss, backward": trained(_ctc_loss, "frames"),
    },
}
ON_DATA = {"unique", "x[mask]", "nonzero"}
"""Cases whose result's shape depends on the data: they have no compiled form."""
