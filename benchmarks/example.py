"""Load the digits example on any library with PyTorch's API."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

PATH = Path(__file__).parent.parent / "examples" / "digits.py"
IMPORT = "import multitorch as torch\n"


def load(library: str = "multitorch") -> SimpleNamespace:
    """Return the example's functions, with `library` in its import line instead of multitorch."""
    source = PATH.read_text()
    if source.count(IMPORT) != 1:
        raise ValueError(f"{PATH} should have exactly one line {IMPORT.strip()!r}")
    names: dict = {"__name__": "digits"}
    exec(compile(source.replace(IMPORT, f"import {library} as torch\n"), PATH, "exec"), names)
    return SimpleNamespace(**names)
