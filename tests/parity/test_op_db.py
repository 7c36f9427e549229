"""Every op that PyTorch's operator database and multitorch share, property by property."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import pytest

torch = pytest.importorskip("torch")

from tests import conftest  # noqa: E402
from tests.parity import docs  # noqa: E402
from tests.parity.adapter import name_of, op_db, resolve  # noqa: E402
from tests.parity.checks import CHECKS, run  # noqa: E402
from tests.parity.gaps import gap  # noqa: E402
from tests.parity.scope import missing  # noqa: E402

SAMPLES = {"cpu": 3}
"""Samples per op unless --samples is given; one on the devices that compile every shape."""
ELSEWHERE = ("forward-float32", "inplace")
"""What runs for every op on other devices than the cpu unless --samples is given."""
ONE_OF = 8
"""The other properties run there for one op of so many, another one for each property."""
ONCE = ("forms", "meta")
"""What does not depend on the device."""


def runs(property: str, name: str, device: str, every: bool) -> bool:
    """Whether a property of an op is checked on a device."""
    if device == "cpu" or (every and property not in ONCE):
        return True
    if property in ONCE:
        return False
    return property in ELSEWHERE or crc32(f"{property} {name}".encode()) % ONE_OF == 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "property" not in metafunc.fixturenames:
        return
    every = metafunc.config.getoption("--samples", default=None) is not None
    devices = conftest.tested_devices(metafunc.config)
    metafunc.parametrize(
        ("property", "op", "place"),
        [
            pytest.param(name, op, device, id=f"{name}-{name_of(op)}-{device}", marks=marks(name, op, device))
            for device in devices
            for name, (applies, _) in CHECKS.items()
            for op in op_db
            if runs(name, name_of(op), device, every) and resolve(op) is not None and applies(op)
        ],
    )  # fmt: skip


def marks(name: str, op, device: str) -> list:
    reason = gap(name, name_of(op), device)
    return [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True)]


def test_what_is_missing_is_listed():
    """Every op of the database exists, or tests/parity/scope.py says why it does not."""
    absent = {name_of(op) for op in op_db if resolve(op) is None}
    assert absent == set(missing())


@pytest.mark.parametrize("where", ["cpu", "jax"])
def test_gaps_are_fewer_than_one_in_a_hundred(where):
    ops = [op for op in op_db if resolve(op) is not None]
    cells = [(name, op) for name, (applies, _) in CHECKS.items() for op in ops if applies(op)]
    gaps = [name for name, op in cells if gap(name, name_of(op), where)]
    assert len(gaps) < len(cells) / 100, Counter(gaps)


def test_page_of_ops_is_in_step():
    """docs/ops.md lists the ops and gaps of today; `python -m tests.parity.docs` makes it so."""
    page = docs.PAGE.read_text()
    ops, lines = docs.listed(page)
    assert ops == docs.present()
    assert lines == [*docs.gap_list(), *docs.missing_list()]


def test_agrees_with_pytorch(property, op, place, request):
    torch.set_num_threads(1)
    count = request.config.getoption("--samples", default=None)
    if gap(property, name_of(op), place):
        count = 0  # what is strict must not hang on the samples that are picked
    if not run(property, op, place, SAMPLES.get(place, 1) if count is None else count):
        pytest.skip("no sample that PyTorch accepts")
