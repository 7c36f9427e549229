"""The example learns, is the same on every device and on PyTorch, and the README's tour runs."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

import multitorch as mt
from benchmarks.example import load

ROOT = Path(__file__).parent.parent

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")


@functools.cache
def run(device: str, plot: Path, *flags: str) -> dict[str, Any]:
    """Run the example; a second run with the same arguments is read from memory."""
    with mt.random.use_cpu_stream():
        return load().main(["--device", device, "--plot", str(plot), *flags])


@pytest.fixture(scope="module")
def plot(tmp_path_factory):
    return tmp_path_factory.mktemp("digits") / "digits.png"


def test_learns_the_digits(device, plot):
    history = run(device, plot)
    assert history["test_accuracy"] >= 0.98
    assert history["loss"][-1] < history["loss"][0] / 5
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_every_device_has_the_same_losses(devices, plot):
    reference = run("cpu", plot)["loss"]
    for device in devices:
        assert run(device, plot)["loss"] == pytest.approx(reference, abs=1e-3)


def test_compiled_step_has_the_same_losses(device, plot):
    compiled = run(device, plot, "--epochs", "2", "--compile")
    assert compiled["loss"] == pytest.approx(run(device, plot, "--epochs", "2")["loss"], abs=1e-3)


@pytest.mark.oracle
def test_is_a_pytorch_program(oracle, plot):
    draw = oracle.empty(64)
    oracle.manual_seed(1), mt.manual_seed(1)
    if draw.bernoulli_(0.7).tolist() != mt.empty(64).bernoulli_(0.7).tolist():
        pytest.skip("on this processor PyTorch draws masks from MKL's stream, not its own")
    flags = ["--epochs", "3", "--plot", str(plot)]
    theirs = load("torch").main(flags)
    ours = run("cpu", plot, "--epochs", "3")
    assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
    assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=1e-3)


def test_readme_tour_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "tour"})
