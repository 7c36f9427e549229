"""The cells of the notebooks for real TPUs run, here on device "jax", so that they cannot rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax", reason="the notebooks are run on device jax")

from tests.tpu import resume, run  # noqa: E402

HERE = Path(__file__).parent
NOTEBOOKS = {"colab": HERE / "colab.ipynb", "kaggle": HERE / "kaggle" / "notebook.ipynb"}


def cells(path: Path) -> list[str]:
    """Return the source of a notebook's code cells."""
    book = json.loads(path.read_text())
    assert book["nbformat"] == 4
    return ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_run(name, tmp_path):
    script = tmp_path / "cells.py"
    script.write_text("\n\n".join(cells(NOTEBOOKS[name])))
    settings = {
        "MULTITORCH_DEVICE": "jax",
        "MULTITORCH_SOURCE": str(run.ROOT),
        "MULTITORCH_RESULTS": str(tmp_path / "results"),
        "MULTITORCH_MINUTES": "5",
        "MULTITORCH_TESTS": "tests/test_device.py -k tensors_report",
        "MULTITORCH_BENCHMARKS": "imports --rounds 1",
        "MULTITORCH_INSTALLED": "1",
        "PYTHONPATH": os.pathsep.join([str(run.ROOT), str(run.ROOT / "backends")]),
    }
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    result = json.loads((tmp_path / "results" / run.RESULT).read_text())
    assert "devices" in result["doctor"]
    assert result["counts"].keys() <= {"passed", "skipped"}
    assert result["benchmarks"]["imports"]["status"] == 0


def test_notebooks_differ_only_in_their_settings():
    colab, kaggle = cells(NOTEBOOKS["colab"]), cells(NOTEBOOKS["kaggle"])
    assert colab[1:-1] == kaggle[1:-1]


def test_metadata_of_the_kaggle_kernel():
    found = json.loads((HERE / "kaggle" / "kernel-metadata.json").read_text())
    assert (HERE / "kaggle" / found["code_file"]).exists()
    assert found["enable_tpu"] and found["enable_internet"]


TESTS = """
import os, pytest

def test_passes(): pass
def test_fails(): assert 1 == 2
def test_skips(): pytest.skip("why")
def test_crashes(): os._exit(3)
def test_after(): pass
"""


def test_a_session_that_ends_is_resumed(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS)
    results = tmp_path / "results.jsonl"
    command = [
        sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path),
        "-p", "tests.tpu.resume", "--results", str(results), "test_it.py",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(run.ROOT)}
    first = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True)
    assert first.returncode == 3
    for _ in range(2):
        again = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "5 deselected" in again.stdout
    found = resume.outcomes(results)
    assert [found[f"test_it.py::test_{n}"][0] for n in ("passes", "fails", "skips")] == [
        "passed", "failed", "skipped",
    ]  # fmt: skip
    assert found["test_it.py::test_crashes"][0] == resume.CRASHED
    assert found["test_it.py::test_after"][0] == "passed"
    assert "assert 1 == 2" in found["test_it.py::test_fails"][1]


def test_a_session_stops_in_time(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    results = tmp_path / "results.jsonl"
    command = [
        sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path),
        "-p", "tests.tpu.resume", "--results", str(results), "--minutes", "0", "test_it.py",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(run.ROOT)}
    subprocess.run(command, cwd=tmp_path, env=env, capture_output=True)
    assert list(resume.outcomes(results)) == ["test_it.py::test_a"]
