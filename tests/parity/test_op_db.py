"""Every op that PyTorch's operator database and multitorch share, property by property."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tests import conftest  # noqa: E402
from tests.parity.adapter import name_of, op_db, resolve  # noqa: E402
from tests.parity.checks import CHECKS, run  # noqa: E402
from tests.parity.gaps import gap  # noqa: E402

SAMPLES = {"cpu": 3}
"""Samples per op unless --samples is given; one on the devices that compile every shape."""
ELSEWHERE = ("forward-float32", "inplace")
"""What runs on other devices than the cpu unless --samples is given: the rest is common code."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    every = metafunc.config.getoption("--samples", default=None) is not None
    devices = conftest.tested_devices(metafunc.config)
    metafunc.parametrize(
        ("property", "op", "place"),
        [
            pytest.param(name, op, device, id=f"{name}-{name_of(op)}-{device}", marks=marks(name, op, device))
            for device in devices
            for name, (applies, _) in CHECKS.items()
            if every or device == "cpu" or name in ELSEWHERE
            for op in op_db
            if resolve(op) is not None and applies(op)
        ],
    )  # fmt: skip


def marks(name: str, op, device: str) -> list:
    reason = gap(name, name_of(op), device)
    return [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True)]


def test_agrees_with_pytorch(property, op, place, request):
    torch.set_num_threads(1)
    count = request.config.getoption("--samples", default=None)
    if not run(property, op, place, SAMPLES.get(place, 1) if count is None else count):
        pytest.skip("no sample that PyTorch accepts")
