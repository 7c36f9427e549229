"""Options and fixtures: the suite runs once on every device."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

# The fewest kernels a backend can have. Registered before anything asks which devices there are.
MINI = "mini"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("multitorch")
    group.addoption("--device", help="run on this one device, for example cuda, tpu or jax:1")
    group.addoption(
        "--backends", help="run on these devices, comma separated; 'all' adds the minimal one"
    )


def pytest_configure(config: pytest.Config) -> None:
    if has_minimal_backend():
        from multitorch.backend import registry
        from tests import minimal_backend

        registry.register(MINI, minimal_backend.load)


def has_minimal_backend() -> bool:
    return (Path(__file__).parent / "minimal_backend.py").exists()


def tested_devices(config: pytest.Config) -> list[str]:
    """Return the devices to run on: --device, else --backends, else cpu and, if present, jax."""
    if one := config.getoption("--device"):
        return [one]
    present = ["cpu"] + ["jax"] * (importlib.util.find_spec("jax") is not None)
    chosen = config.getoption("--backends")
    if not chosen:
        return present
    return present + [MINI] * has_minimal_backend() if chosen == "all" else chosen.split(",")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", tested_devices(metafunc.config), scope="session")


@pytest.fixture(scope="session")
def devices(request: pytest.FixtureRequest) -> list[str]:
    """Every device under test at once, for tests that compare them."""
    return tested_devices(request.config)


@pytest.fixture(scope="session")
def oracle():
    """The real PyTorch, single-threaded; the test is skipped where it is not installed."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


@pytest.fixture(autouse=True)
def fresh_state():
    """Seed every generator and put the default dtype back, so that no test leans on another."""
    import multitorch

    np.random.seed(0)
    multitorch.manual_seed(0)
    dtype = multitorch.get_default_dtype()
    yield
    multitorch.set_default_dtype(dtype)


@pytest.fixture(scope="session")
def other_device(devices: list[str]) -> str:
    """A device whose backend is not the cpu's."""
    return next((d for d in devices if d != "cpu"), MINI)
