"""What changes from call to call is data on JAX: a loop over indices, starts or numbers compiles once.

A length is part of a shape, and XLA has a program for each shape: each one compiles once, ever.
"""

from __future__ import annotations

import pytest

import multitorch as torch

jax = pytest.importorskip("jax")

READS = [
    "x[i]", "x[-i]", "x[:, i]", "x[..., i]", "x[i, i]", "x[i][i + 1]", "x[i : i + 2]",
    "x[:, i : i + 2]", "x[None, i]", "x[torch.tensor(i)]", "x[torch.tensor([i, 0], device=dev)]",
    "x[[i, i + 1]]", "x.narrow(0, i, 2)", "x.select(1, i)", "x.unbind(0)[i]", "x.split(1)[i]",
    "x.chunk(9)[i]", "x.roll(i)", "x.roll((i, -i), (0, 1))", "x.take(torch.tensor([i], device=dev))",
    "x[i, i].item()", "x.diagonal()[i]", "torch.cat([x[i : i + 1], x[i + 1 : i + 2]])",
]  # fmt: skip
WRITES = [
    "x.__setitem__(i, 1.5)", "x.__setitem__((slice(None), i), 2.5 * i)", "x.__setitem__((i, i), i)",
    "x.__setitem__(slice(i, i + 2), 0)", "x.__setitem__(i, x[i + 1])", "x.__setitem__(x > i, i)",
    "x.__setitem__(torch.tensor([i, 0], device=dev), i)", "x[i].add_(i)", "x[:, i].mul_(0.5 * i)",
    "x[i : i + 2].zero_()", "x.fill_(i)", "x.index_fill_(0, n[:2, 0], i)", "x.select(0, i).copy_(x[0])",
    "x.scatter_(0, n[:1], i)", "x.index_copy_(0, torch.tensor([i], device=dev), x[:1])",
    "x.add_(x, alpha=i)", "x.uniform_(0, i)", "x.normal_(i, i)", "x.bernoulli_(0.1 * i)",
]  # fmt: skip
NUMBERS = [
    "x + i", "i - 0.5 * x", "x / (i + 0.5)", "x ** (i + 0.5)", "(i + 1.5) ** x", "x % i", "n // i",
    "x > i", "x.clamp(i, i + 1)", "x.clamp(max=i)", "torch.where(x > 1, x, i)", "x.masked_fill(x > 1, i)",
    "torch.full((3,), 1.5 * i, device=dev)", "torch.full_like(x, i)", "torch.tensor(i, device=dev)",
    "torch.arange(i, i + 4, device=dev)", "torch.arange(0.0, 4.0 * i, i, device=dev)",
    "torch.linspace(0, i, 5, device=dev)", "torch.lerp(x, x + 1, 0.1 * i)", "F.dropout(x, 0.1 * i)",
    "torch.addmm(x, x, x, alpha=i, beta=0.5 * i)", "torch.addcmul(x, x, x, value=i)",
    "F.leaky_relu(x, 0.1 * i)", "F.smooth_l1_loss(x, x + 1, beta=i)", "x.quantile(0.1 * i)",
    "torch.randint(i, i + 4, (3,), device=dev)", "F.cross_entropy(x, n[0], label_smoothing=0.1 * i)",
]  # fmt: skip
STEPS = [
    "(p * i).sum().backward()", "p[i].sum().backward()", "p[:, i : i + 2].sum().backward()",
    "p.roll(i, 0).sum().backward()", "p.clamp(0, i).sum().backward()", "F.dropout(p, 0.1 * i).sum().backward()",
    "torch.nn.utils.clip_grad_norm_([p], i)",
    "torch.optim.SGD([p], lr=0.1 * i, momentum=0.9, weight_decay=0.01 * i).step()",
    "torch.optim.AdamW([p], lr=0.1 * i).step()",
]  # fmt: skip


@pytest.fixture(scope="module")
def compiled() -> list[str]:
    found: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *args, **kwargs: found.append(name) if "backend_compile" in name else None
    )
    jax.jit(lambda x: x + 7)(1.5)  # a new function each time: it is never compiled already
    assert found, "JAX reports compilations under another name"
    return found


def names(dev: str) -> dict:
    """Return what a case speaks of: a matrix, integers and a parameter with its gradient."""
    p = torch.ones(9, 9, device=dev, requires_grad=True)
    p.grad = torch.ones(9, 9, device=dev)
    x = torch.arange(81.0, device=dev).view(9, 9) / 20
    n = torch.arange(81, device=dev).view(9, 9) % 9
    return {"torch": torch, "F": torch.nn.functional, "dev": dev, "x": x, "n": n, "p": p}


@pytest.mark.parametrize("code", READS + WRITES + NUMBERS + STEPS)
def test_a_loop_over_values_compiles_once(code, compiled):
    known = names("jax")
    body = compile(code, code, "eval")
    for i in (1, 2):  # the second time, state and constants of the first are there
        eval(body, {**known, "i": i})
    before = len(compiled)
    for i in (3, 4, 5):
        eval(body, {**known, "i": i})
    assert len(compiled) == before


@pytest.mark.parametrize(
    "code", ["x[:i]", "x[i:].sum()", "x[:i] + 1", "torch.arange(i, device=dev)"]
)
def test_a_length_that_was_seen_does_not_compile_again(code, compiled):
    known = names("jax")
    body = compile(code, code, "eval")
    for i in range(1, 6):
        eval(body, {**known, "i": i})
    before = len(compiled)
    for i in (5, 1, 3, 2, 4):
        eval(body, {**known, "i": i})
    assert len(compiled) == before
