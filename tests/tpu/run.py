"""Everything that a session on a TPU is for, resumable, into one result file.

python -m tests.tpu.run suite --device tpu --minutes 100 --folder results
python -m tests.tpu.run benchmarks --device tpu --folder results
python -m tests.tpu.run bundle --folder results
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.tpu.resume import CRASHED, outcomes

ROOT = Path(__file__).parents[2]
BENCHMARKS = ("digits_step --json", "train --json", "memory --device {device} --steps 1000")
RESULT = "multitorch-tpu-result.json"
_ENDS = (0, 1, 5)
"""Exit statuses of pytest that mean it came to its end: passed, failed, nothing left to run."""


def suite(folder: Path, device: str, minutes: float, tests: list[str]) -> int:
    """Run the tests that have no outcome yet, again and again if some end the process."""
    end = time.monotonic() + 60 * minutes
    results = folder / "tests.jsonl"
    while True:
        left = (end - time.monotonic()) / 60
        known = len(outcomes(results))
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "tests.tpu.resume", "--device", device,
            "--results", str(results), "--minutes", f"{left:.2f}", *tests,
        ]  # fmt: skip
        status = subprocess.run(command, cwd=ROOT).returncode
        if status in _ENDS or left <= 0 or len(outcomes(results)) == known:
            return status


def benchmarks(folder: Path, device: str, names: list[str], minutes: float) -> None:
    """Run the benchmarks that have no result yet, and keep what they print."""
    path = folder / "benchmarks.json"
    done = json.loads(path.read_text()) if path.exists() else {}
    for line in names:
        name, *options = line.format(device=device).split()
        if name in done and done[name]["status"] == 0:
            continue
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        try:
            ran = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=60 * minutes
            )
            done[name] = {"status": ran.returncode, "out": ran.stdout, "err": ran.stderr[-4000:]}
        except subprocess.TimeoutExpired:
            done[name] = {"status": -1, "out": "", "err": f"took more than {minutes:g} minutes"}
        path.write_text(json.dumps(done))
        print(f"benchmark {name}: status {done[name]['status']}", flush=True)


def bundle(folder: Path) -> Path:
    """Write the one file to bring home; print what is in it."""
    found = outcomes(folder / "tests.jsonl")
    counts = Counter(outcome for outcome, _ in found.values())
    measured = folder / "benchmarks.json"
    doctor = subprocess.run(
        [sys.executable, "-m", "multitorch", "doctor"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])},
    )
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    result = {
        "revision": revision,
        "doctor": doctor.stdout,
        "counts": dict(counts),
        "failures": {
            test: text or outcome
            for test, (outcome, text) in found.items()
            if outcome in ("failed", CRASHED)
        },
        "benchmarks": json.loads(measured.read_text()) if measured.exists() else {},
    }
    path = folder / RESULT
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{path}: {dict(counts)}")
    return path


def main() -> int:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("suite", "benchmarks", "bundle"))
    parser.add_argument("--folder", type=Path, default=Path("results"))
    parser.add_argument("--device", default="tpu")
    parser.add_argument("--minutes", type=float, default=100.0)
    # what follows is for pytest, or names benchmarks with their options
    options, names = parser.parse_known_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if options.part == "suite":
        return suite(folder, options.device, options.minutes, names)
    if options.part == "benchmarks":
        benchmarks(folder, options.device, names or list(BENCHMARKS), options.minutes)
    else:
        bundle(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
