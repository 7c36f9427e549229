"""Run every benchmark and write RESULTS.md beside this file.

    python -m benchmarks.results [--only dispatch digits_step]

Run it on an otherwise idle machine: half an hour, or less with `--only`, which measures some
benchmarks again and keeps the others' sections as they are.
"""

from __future__ import annotations

import argparse
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
    ("The same steps for a TPU v5e", "train", ["--tpu", "--programs", "tiny,mlp,gpt,lstm"]),
    ("Python beside a compiled program", "recording", []),
    ("Import", "imports", []),
    ("Memory of a training loop, NumPy", "memory", ["--device", "cpu"]),
    ("Memory of a training loop, JAX", "memory", ["--device", "jax"]),
]
NOTES = {
    "One eager op": "dispatch_findings.md",
    "Python beside a compiled program": "recording_findings.md",
    "Ops at three sizes": "ops_findings.md",
    "One training step of five programs": "train_findings.md",
    "The same steps for a TPU v5e": "train_tpu_findings.md",
}
"""What is to be said below the figures of a section, beside this file."""
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
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f"; OMP_NUM_THREADS={threads} (XLA takes all cores)" if threads else ""
    return f"{chip}, {os.cpu_count()} cores; Python {platform.python_version()}; {found}{limit}"


def section(title: str, module: str, flags: list[str]) -> str:
    """Run one benchmark and return its part of the page."""
    command = ["-m", f"benchmarks.{module}", *flags]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    part = f"## {title}\n\n`python {' '.join(command)}`\n\n```\n{done.stdout.rstrip()}\n```\n"
    notes = Path(__file__).parent / NOTES[title] if title in NOTES else None
    return part if notes is None else f"{part}\n{notes.read_text()}"


def earlier(page: Path) -> dict[str, str]:
    """Return the sections that the page has now, by title."""
    parts = page.read_text().split("\n## ")[1:] if page.exists() else []
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", help="benchmarks to run: dispatch, digits_step …")
    only = parser.parse_args().only
    load, page = os.getloadavg()[0], Path(__file__).parent / "RESULTS.md"
    parts = earlier(page)
    for title, module, flags in SECTIONS:
        if only is None or module in only:
            parts[title] = section(title, module, flags)
    head = f"{INTRODUCTION}{machine()}. Load average at the start: {load:.1f}.\n\n"
    page.write_text(head + "\n".join(parts[title] for title, *_ in SECTIONS if title in parts))


if __name__ == "__main__":
    main()
