"""The switch for how exact float32 products are: what XLA is told, and that kernels follow it."""

from __future__ import annotations

import re

import pytest

import multitorch as torch


@pytest.fixture
def precision():
    """Put the precision back after the test."""
    yield
    torch.set_float32_matmul_precision("highest")


def product(x):
    return x @ x


def told(text: str) -> set[str]:
    """Return the precisions that occur in a StableHLO program."""
    return set(re.findall(r"\b(HIGHEST|HIGH|DEFAULT)\b", text))


def test_the_precision_is_kept_and_other_words_are_refused(precision):
    assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("medium")
    assert torch.get_float32_matmul_precision() == "medium"
    with pytest.raises(RuntimeError, match="not supported"):
        torch.set_float32_matmul_precision("low")
    assert torch.get_float32_matmul_precision() == "medium"


def test_tf32_is_the_same_switch(precision):
    torch.backends.cuda.matmul.allow_tf32 = True
    assert torch.get_float32_matmul_precision() == "high"
    torch.backends.cuda.matmul.allow_tf32 = False
    assert torch.get_float32_matmul_precision() == "highest"


def test_programs_follow_the_precision(precision):
    pytest.importorskip("jax")
    x = torch.ones(2, 2, device="jax")
    compiled = torch.compile(product)
    for word, name in {"highest": "HIGHEST", "high": "HIGH", "medium": "DEFAULT"}.items():
        torch.set_float32_matmul_precision(word)
        assert compiled(x).tolist() == product(x).tolist() == [[2.0, 2.0], [2.0, 2.0]]
        assert told(compiled.stablehlo) == {name}


def test_kernels_are_traced_again(precision, monkeypatch):
    jax = pytest.importorskip("jax")
    x = torch.ones(2, 2, device="jax")
    seen = []
    real = jax.numpy.matmul
    monkeypatch.setattr(
        jax.numpy,
        "matmul",
        lambda *args, precision=None, **kw: (
            seen.append(precision),
            real(*args, precision=precision, **kw),
        )[1],
    )
    product(x)
    seen.clear()
    torch.set_float32_matmul_precision("medium")
    product(x)
    product(x)
    assert seen == [jax.lax.Precision.DEFAULT]
