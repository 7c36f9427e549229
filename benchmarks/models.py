"""Five training programs as ordinary PyTorch code: each is a function of the library `torch`.

They run unchanged on PyTorch and on multitorch. There is no dropout, so that every rival must
come to the same losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

VOCABULARY = 64
Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Program:
    """A model, the batch that it learns from and its optimizer."""

    title: str
    build: Callable[[Any], Any]
    draw: Callable[[np.random.Generator], Batch]
    optimizer: Callable[[Any, Any], Any]

    def batch(self) -> Batch:
        """Return fixed inputs and targets."""
        return self.draw(np.random.default_rng(0))


def make_step(torch: Any, model: Any, optimizer: Any) -> Callable[[Any, Any], Any]:
    """Return the function that learns from one batch and returns its loss.

    Gradients are dropped at the end: no library has to hand them out as results.
    """

    def step(inputs: Any, targets: Any) -> Any:
        scores = model(inputs)
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, -2), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


# --- models


def dense(*widths: int) -> Callable[[Any], Any]:
    """Return what builds linear layers with relu between them."""

    def build(torch: Any) -> Any:
        nn = torch.nn
        pairs = list(zip(widths, widths[1:], strict=False))
        layers = [m for pair in pairs for m in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*layers[:-1])

    return build


def cnn(torch: Any) -> Any:
    """Build a residual network of three stages, 16 to 64 channels wide, for 32x32 images."""
    nn, relu = torch.nn, torch.nn.functional.relu

    class Block(nn.Module):
        def __init__(self, ins: int, outs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(ins, outs, 3, stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(outs)
            self.conv2 = nn.Conv2d(outs, outs, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(outs)
            self.short = nn.Conv2d(ins, outs, 1, stride, bias=False) if ins != outs else None

        def forward(self, x: Any) -> Any:
            h = relu(self.norm1(self.conv1(x)))
            h = self.norm2(self.conv2(h))
            return relu(h + (x if self.short is None else self.short(x)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(16)
            self.stages = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
            self.head = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            h = self.stages(relu(self.norm(self.stem(x))))
            return self.head(h.mean((2, 3)))

    return Net()


def gpt(torch: Any, layers: int = 4, width: int = 128, heads: int = 4, length: int = 64) -> Any:
    """Build a decoder-only transformer over characters."""
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def attend(self, x: Any) -> Any:
            n, t, c = x.shape
            parts = self.qkv(x).view(n, t, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(*parts.unbind(0), is_causal=True)
            return self.mix(y.transpose(1, 2).reshape(n, t, c))

        def forward(self, x: Any) -> Any:
            x = x + self.attend(self.norm1(x))
            return x + self.fall(functional.gelu(self.rise(self.norm2(x))))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Embedding(VOCABULARY, width)
            self.place = nn.Parameter(torch.randn(length, width) * 0.02)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.norm(self.blocks(self.token(tokens) + self.place)))

    return Net()


def lstm(torch: Any, width: int = 128) -> Any:
    """Build two LSTM layers over characters."""
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Embedding(VOCABULARY, width)
            self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
            self.head = nn.Linear(width, VOCABULARY)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.lstm(self.token(tokens))[0])

    return Net()


# --- data


def vectors(count: int, width: int) -> Callable[[np.random.Generator], Batch]:
    """Return what draws vectors of numbers, one of 10 classes each."""
    return lambda rng: (rng.standard_normal((count, width), np.float32), rng.integers(0, 10, count))


def images(rng: np.random.Generator) -> Batch:
    """Draw 32 color images of 32x32 pixels, one of 10 classes each."""
    return rng.standard_normal((32, 3, 32, 32), np.float32), rng.integers(0, 10, 32)


def text(count: int, length: int) -> Callable[[np.random.Generator], Batch]:
    """Return what draws sequences of characters; the target is the next character."""

    def draw(rng: np.random.Generator) -> Batch:
        tokens = rng.integers(0, VOCABULARY, (count, length + 1))
        return tokens[:, :-1].copy(), tokens[:, 1:].copy()

    return draw


# --- programs


def sgd(torch: Any, parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=0.01)


def momentum(torch: Any, parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)


def adam(torch: Any, parameters: Any) -> Any:
    return torch.optim.Adam(parameters, lr=1e-3)


def adamw(torch: Any, parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0.1)


PROGRAMS = {
    "tiny": Program(
        "tiny MLP, width 32, batch 16, SGD", dense(32, 32, 32, 10), vectors(16, 32), sgd
    ),
    "mlp": Program(
        "MLP 784-512-512-10, batch 128, Adam", dense(784, 512, 512, 10), vectors(128, 784), adam
    ),
    "cnn": Program("residual CNN, 16-64 channels, batch 32, momentum", cnn, images, momentum),
    "gpt": Program("GPT, 4 layers, width 128, 8 x 64 tokens, AdamW", gpt, text(8, 64), adamw),
    "lstm": Program("LSTM, 2 layers, width 128, 16 x 32 tokens, Adam", lstm, text(16, 32), adam),
}
