"""`python -m multitorch doctor`: what it finds wrong, and the line that mends it."""

from __future__ import annotations

import os

import pytest

from multitorch import cli
from multitorch.cli import doctor

GOOD = {"jax": "0.10.2", "jaxlib": "0.10.2", "libtpu": "0.0.42.1", "numpy": "2.1.0"}
NEEDS = ['libtpu==0.0.42.*; extra == "tpu"', "jaxlib<=0.10.2,>=0.10.2"]


def test_the_report(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "answering_devices", lambda timeout: (["cpu", "jax:0"], ""))
    status = cli.main(["doctor"])
    out = capsys.readouterr().out
    for name in ("python", *doctor.PACKAGES, "devices", "tpu chips"):
        assert f"\n{name} " in f"\n{out}", name
    assert (status == 0) == ("nothing is wrong" in out)


def test_devices_answer_in_a_process_of_their_own():
    devices, failure = doctor.answering_devices(120)
    assert "cpu" in devices and not failure


def test_devices_that_do_not_answer(monkeypatch):
    monkeypatch.setattr(doctor, "_ASK", "import time; time.sleep(30)")
    assert doctor.answering_devices(0.2) == ([], "no answer within 0.2 seconds")
    monkeypatch.setattr(doctor, "_ASK", "raise RuntimeError('TPU is in use')")
    assert doctor.answering_devices(60) == ([], "RuntimeError: TPU is in use")


@pytest.mark.parametrize(
    ("change", "problem", "fix"),
    [
        ({"jax": "0.6.0", "jaxlib": "0.6.0"}, "older than 0.7.2", "pip install -U jax"),
        ({"jaxlib": "0.9.0"}, "not of one release", "'jaxlib==0.10.2'"),
        ({"libtpu": "0.0.52"}, "made for libtpu 0.0.42, not 0.0.52", "'jax[tpu]==0.10.2'"),
        (
            {"libtpu-nightly": "0.1"},
            "overwrite each other",
            "pip uninstall -y libtpu libtpu-nightly",
        ),
        ({"torch_xla": "2.8"}, "a libtpu of its own", "pip uninstall -y torch_xla"),
        ({"numpy": "1.26.4"}, "older than 2.0", "pip install -U numpy"),
    ],
)
def test_bad_pairs(change, problem, fix):
    (found,) = doctor.bad_pairs({**GOOD, **change}, NEEDS)
    assert problem in found.problem and fix in found.fix


def test_good_pairs():
    assert doctor.bad_pairs(GOOD, NEEDS) == []
    assert doctor.bad_pairs({"numpy": "2.0"}) == []


CHIPS = ["/dev/vfio/0"]


@pytest.mark.parametrize(
    ("versions", "holders", "environment", "problem", "fix"),
    [
        ({"jax": "0.10.2"}, [], {}, "no libtpu", "pip install 'multitorch[tpu]'"),
        (GOOD, [], {"JAX_PLATFORMS": "cpu"}, "JAX_PLATFORMS=cpu", "unset JAX_PLATFORMS"),
        (GOOD, [(12, "python train.py")], {}, "process 12 (python train.py) holds", "kill 12"),
    ],
)
def test_chips_that_are_not_used(versions, holders, environment, problem, fix):
    (found,) = doctor.chip_problems(versions, CHIPS, holders, ["cpu", "jax:0"], "", environment)
    assert problem in found.problem and found.fix == fix


def test_chips_in_use_are_no_problem():
    devices = ["cpu", "jax:0", "tpu:0"]
    assert doctor.chip_problems(GOOD, CHIPS, [(os.getpid(), "me")], devices, "", {}) == []


def test_who_holds_a_chip(tmp_path):
    for pid, target in (("7", "/dev/vfio/3"), ("8", "/dev/null")):
        (tmp_path / pid / "fd").mkdir(parents=True)
        (tmp_path / pid / "fd" / "5").symlink_to(target)
        (tmp_path / pid / "cmdline").write_bytes(b"python\0train.py\0")
    (tmp_path / "self").mkdir()
    assert doctor.chip_holders(str(tmp_path)) == [(7, "python train.py")]
