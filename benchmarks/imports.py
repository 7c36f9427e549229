"""What `import multitorch` costs beyond `import numpy`.

python -m benchmarks.imports [--json]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("numpy", "multitorch", "jax", "torch")


def import_seconds(package: str) -> float:
    """Return how long a fresh interpreter takes to import a package."""
    code = (
        "import time; began = time.perf_counter(); "
        f"import {package}; print(time.perf_counter() - began)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the first, uncounted round compiles
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def measure(rounds: int) -> dict[str, float]:
    """Return the median milliseconds of every package that is installed, in turns."""
    present = [package for package in PACKAGES if importlib.util.find_spec(package)]
    present += [] if "multitorch" in present else ["multitorch"]
    samples: dict[str, list[float]] = {package: [] for package in present}
    for _ in range(rounds + 1):
        for package in present:
            samples[package].append(import_seconds(package))
    return {package: statistics.median(s[1:]) * 1e3 for package, s in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    times = measure(args.rounds)
    times["multitorch beyond numpy"] = times["multitorch"] - times["numpy"]
    if args.json:
        print(json.dumps(times, indent=1))
        return
    for package, value in times.items():
        print(f"import {package:24} {value:8.1f} ms")


if __name__ == "__main__":
    main()
