"""Training frees what it makes by reference counting alone."""

from __future__ import annotations

import weakref

import pytest

import multitorch as mt
from benchmarks import memory

STEPS = 200


def test_training_leaves_memory_flat(device):
    step = memory.make_step(device)
    grown = []
    for _ in range(3):  # a leak shows every time; an allocator that asks for more memory, once
        objects, held = memory.measure(step, STEPS)
        assert objects == 0
        grown.append(held / 2**20)
    assert min(grown) < 8, f"{grown} MiB more after each {STEPS} steps"


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda x: x.exp().sum(), id="pointwise"),
        pytest.param(lambda x: x.view(-1)[1:].sum(), id="views"),
        pytest.param(lambda x: x.clone().mul_(2).sum(), id="in-place"),
        pytest.param(lambda x: x.softmax(1).sum(), id="fused"),
        pytest.param(lambda x: (x @ x).relu().mean(), id="matmul"),
        pytest.param(lambda x: x.max(dim=1).values.sum(), id="two-outputs"),
    ],
)
def test_a_graph_dies_with_its_last_name(device, build):
    x = mt.ones(3, 3, device=device, requires_grad=True)
    out = build(x)
    alive = weakref.ref(out)
    node = weakref.ref(out.grad_fn) if can_be_weak(out.grad_fn) else None
    out.backward()
    del out
    assert alive() is None
    assert node is None or node() is None


def can_be_weak(thing) -> bool:
    return getattr(type(thing), "__weakrefoffset__", 0) != 0
