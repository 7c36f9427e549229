"""Devices: names, defaults, absence."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

import multitorch as mt


def test_names():
    assert str(mt.device("jax:1")) == "jax:1" and mt.device("jax", 1) is mt.device("jax:1")
    assert repr(mt.device("cuda", 0)) == "device(type='cuda', index=0)"
    assert repr(mt.device("cpu")) == "device(type='cpu')"
    assert mt.device("cpu") == mt.device("cpu") != mt.device("cpu:0")
    assert pickle.loads(pickle.dumps(mt.device("cpu"))) is mt.device("cpu")
    assert copy.deepcopy(mt.device("cpu")) is mt.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:x", ""])
def test_bad_names(name):
    with pytest.raises(RuntimeError):
        mt.device(name)


def test_tensors_report_their_device(device):
    x = mt.zeros(2, device=device)
    assert x.device.type == mt.device(device).type
    assert x.cpu().device == mt.device("cpu") and x.cpu().tolist() == [0.0, 0.0]
    assert x.to(device) is x and x.is_cpu == (device == "cpu")


def test_context_manager_and_default(other_device):
    with mt.device(other_device):
        assert mt.ones(2).device.type == other_device.partition(":")[0]
        with mt.device("cpu"):
            assert mt.ones(2).device.type == "cpu"
    assert mt.ones(2).device.type == "cpu"
    mt.set_default_device(other_device)
    try:
        assert mt.zeros(1).device == mt.get_default_device()
    finally:
        mt.set_default_device(None)
    assert mt.zeros(1).device.type == "cpu"


def test_an_absent_device_lists_those_present():
    with pytest.raises(RuntimeError, match=r"not available; devices present: cpu"):
        mt.ones(1, device="mini:7" if mt.cuda.is_available() else "cuda")


def test_mixing_devices_is_an_error(other_device):
    x, y = mt.ones(2), mt.ones(2, device=other_device)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        x + y
    assert (y + mt.tensor(1.0)).tolist() == [2.0, 2.0]


def test_cuda_answers_sensibly():
    assert isinstance(mt.cuda.is_available(), bool)
    assert mt.cuda.device_count() == (mt.cuda.device_count() if mt.cuda.is_available() else 0)
    assert mt.accelerator.is_available() == (mt.accelerator.device_count() > 0)
    if not mt.cuda.is_available():
        assert mt.accelerator.current_accelerator() is None or not mt.cuda.is_available()
        with pytest.raises(RuntimeError, match="No CUDA GPUs are available"):
            mt.cuda.current_device()


def test_missing_jax_names_the_pip_command():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "import multitorch as mt\n"
        "try:\n    mt.ones(1, device='jax')\n"
        "except RuntimeError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'multitorch[jax]'" in done.stdout, done.stderr
