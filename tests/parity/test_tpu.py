"""Ops of the database, compiled for a TPU that is not there: what the table says is so."""

from __future__ import annotations

import json
from zlib import crc32

import pytest

pytest.importorskip("torch")
pytest.importorskip("jax", reason="the TPU compiler is reached through JAX")

from multitorch_jax.topology import unavailable  # noqa: E402
from tests.parity import tpu  # noqa: E402

TABLE = json.loads(tpu.TABLE.read_text())
ONE_OF = 32
"""Without --tpu-ops one op of so many is compiled, and some of those that have no program."""


def chosen(name: str, every: bool) -> bool:
    """Whether an op is compiled in this run."""
    if every or name not in TABLE:
        return True
    kinds = {kind for kind, _ in TABLE[name].values()}
    rare = {tpu.CALLBACK, tpu.DTYPE, tpu.CRASH}
    return bool(rare & kinds) or crc32(name.encode()) % ONE_OF == 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        every = metafunc.config.getoption("--tpu-ops", default=False)
        metafunc.parametrize("name", [n for n in tpu.ops() if chosen(n, every)])


@pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "there")
def test_compiles_for_a_tpu(name):
    if tpu.CRASH in [kind for kind, _ in TABLE[name].values()]:
        pytest.skip(tpu.REMEDY[tpu.CRASH])
    assert tpu.check(tpu.ops()[name]) == TABLE[name]


def test_the_table_is_in_step():
    """`python -m tests.parity.tpu --missing` adds what is new."""
    assert set(TABLE) == set(tpu.ops())


def test_every_verdict_has_a_remedy():
    remedies = tpu.remedies()
    assert remedies["nonzero"].startswith("runs eagerly")
    assert remedies["linalg.eig"].startswith("runs on the host, with one warning")
    assert remedies["svd"].startswith("a host fallback with one warning")
    assert "add" not in remedies
