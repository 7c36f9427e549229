"""Run every benchmark and write RESULTS.md beside this file.

    python -m benchmarks.results

Run it on an otherwise idle machine: a few minutes.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECTIONS = [
    ("One eager op", "dispatch", []),
    ("Ops at three sizes", "ops", []),
    ("One training step of the digits example", "digits_step", []),
    ("One training step of five programs", "train", ["--chart", "benchmarks/train.png"]),
    ("Import", "imports", []),
    ("Memory of a training loop, NumPy", "memory", ["--device", "cpu"]),
    ("Memory of a training loop, JAX", "memory", ["--device", "jax"]),
]
NOTES = {module: Path(__file__).parent / f"{module}_findings.md" for module in ("ops", "train")}
"""What is to be said below the figures of a section."""
INTRODUCTION = """\
# Results

Medians; rivals take turns in one process. `python -m benchmarks.results` writes this file.

"""


def machine() -> str:
    """Return one line about the processor, Python and the libraries."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = next((ln.split(": ")[1] for ln in text.splitlines() if "model name" in ln), "")
    libraries = [p for p in ("numpy", "jax", "torch") if importlib.util.find_spec(p)]
    found = ", ".join(f"{p} {version(p)}" for p in libraries)
    chip = model or platform.machine()
    return f"{chip}, {os.cpu_count()} cores; Python {platform.python_version()}; {found}"


def section(title: str, module: str, flags: list[str]) -> str:
    """Run one benchmark and return its part of the page."""
    command = ["-m", f"benchmarks.{module}", *flags]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    part = f"## {title}\n\n`python {' '.join(command)}`\n\n```\n{done.stdout.rstrip()}\n```\n"
    return f"{part}\n{NOTES[module].read_text()}" if module in NOTES else part


def main() -> None:
    load = os.getloadavg()[0]
    parts = [section(*which) for which in SECTIONS]
    head = f"{INTRODUCTION}{machine()}. Load average at the start: {load:.1f}.\n\n"
    (Path(__file__).parent / "RESULTS.md").write_text(head + "\n".join(parts))


if __name__ == "__main__":
    main()
