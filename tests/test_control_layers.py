"""`compiler.scan_layers`: layers that are alike as one loop of a program."""

from __future__ import annotations

import copy

import pytest

import multitorch as mt
from multitorch import nn
from multitorch.graph.inspect import record

pytest.importorskip("jax", reason="compile needs JAX")


@pytest.fixture
def dev(device):
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    return device


class Block(nn.Module):
    def __init__(self, size, p=0.0, norm=nn.LayerNorm):
        super().__init__()
        self.norm, self.fc, self.drop = norm(size), nn.Linear(size, size), nn.Dropout(p)
        self.act = nn.functional.gelu

    def forward(self, x, scale=1.0):
        return x + scale * self.drop(self.act(self.fc(self.norm(x))))


def stack(count, dev, *args):
    mt.manual_seed(0)
    return nn.ModuleList([Block(4, *args) for _ in range(count)]).to(dev).double()


def in_a_loop(layers, x, **kwargs):
    for layer in layers:
        x = layer(x, **kwargs)
    return x


def test_training_is_that_of_a_loop(dev):
    """Parameters, batch norm's buffers and the random numbers of dropout."""
    models = [stack(3, dev, 0.3, nn.BatchNorm1d)]
    models.append(copy.deepcopy(models[0]))
    x = mt.linspace(-1, 2, 20, dtype=mt.float64, device=dev).reshape(5, 4)

    def step_of(model, run):
        optimizer = mt.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x):
            optimizer.zero_grad()
            loss = (run(model, x, scale=0.5) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return mt.compile(step, fullgraph=True)

    runs, losses = [step_of(models[0], in_a_loop), step_of(models[1], mt.compiler.scan_layers)], []
    for run in runs:
        mt.manual_seed(1)
        losses.append([run(x) for _ in range(5)])
    mt.testing.assert_close(losses[1], losses[0])
    for name, value in models[0].state_dict().items():
        mt.testing.assert_close(models[1].state_dict()[name], value)
    assert runs[1].skipped, runs[1].why_recorded


def test_the_program_does_not_grow():
    def calls(count, run):
        def gradients(x):
            return mt.autograd.grad(run(model, x).sum(), list(model.parameters()))

        model = stack(count, "cpu")
        graph = record(gradients, (mt.ones(2, 4, dtype=mt.float64),)).graph
        return len([c for c in graph.calls if c.name not in ("stack", "select")])

    scanned = {n: calls(n, mt.compiler.scan_layers) for n in (2, 6)}
    assert scanned[2] == scanned[6] < calls(2, in_a_loop) < calls(6, in_a_loop) / 2


def test_outside_of_a_program_it_is_a_loop(device):
    model, x = stack(3, device), mt.ones(2, 4, dtype=mt.float64, device=device)
    mt.testing.assert_close(mt.compiler.scan_layers(model, x), in_a_loop(model, x))


def test_layers_without_parameters_and_trees(dev):
    class Both(nn.Module):
        def forward(self, pair):
            return pair[1].sin(), pair[0] * 2

    pair = mt.ones(2, device=dev), mt.zeros(2, device=dev)

    def f(pair):
        return mt.compiler.scan_layers([Both(), Both(), Both()], pair)

    mt.testing.assert_close(mt.compile(f, fullgraph=True)(pair), f(pair))


def test_layers_that_differ(dev):
    x = mt.ones(2, 4, device=dev)

    def scan(*layers):
        return mt.compile(lambda x: mt.compiler.scan_layers(layers, x))(x)

    for first, second, what in [
        (Block(4, 0.1), Block(4, 0.2), "drop.p: 0.2 against 0.1"),
        (nn.Linear(4, 4), nn.Linear(4, 4, bias=False), "bias|_parameters"),
        (nn.Tanh(), nn.ReLU(), "its type"),
        (nn.Linear(4, 4), nn.Linear(4, 4).eval(), "training: False"),
    ]:
        with pytest.raises(ValueError, match=f"layer 1 differs from layer 0 in.*({what})"):
            scan(first.to(dev), second.to(dev))
    with pytest.raises(RuntimeError, match="must keep its structure, shapes and dtypes"):
        mt.compile(lambda x: mt.compiler.scan_layers([nn.Flatten(0), nn.Flatten(0)], x))(x)
