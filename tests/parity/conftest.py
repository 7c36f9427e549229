"""Options of the comparison with PyTorch's operator database."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("multitorch")
    group.addoption("--samples", type=int, help="samples per op of the database; 0 runs all")
    group.addoption("--tpu-ops", action="store_true", help="compile every op for a TPU, not a few")
