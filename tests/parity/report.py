"""Count what agrees with PyTorch: `python -m tests.parity.report [--device jax] [-k softmax] [-v]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from tests.parity.adapter import name_of, op_db, resolve
from tests.parity.checks import CHECKS, run


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--property", default="*", help="only these properties (a,forward-*)")
    parser.add_argument("-k", default="", help="only ops whose names contain one of these (a,b,c)")
    parser.add_argument("-x", default="", help="only these ops (a,b,c)")
    parser.add_argument("--samples", type=int, default=3, help="samples per op; 0: all")
    parser.add_argument("--missing", action="store_true", help="list the ops that are not there")
    parser.add_argument("-v", action="store_true", help="print every failure")
    parser.add_argument("--json", help="write the results to this file, for tests.parity.docs")
    parser.add_argument("--merge", action="store_true", help="keep what else that file holds")
    return parser.parse_args()


def chosen(op, options: argparse.Namespace) -> bool:
    """Whether the command line asks for an op."""
    name = name_of(op)
    if options.x:
        return name in options.x.split(",") or op.name in options.x.split(",")
    return not options.k or any(k in name for k in options.k.split(","))


def fewest(*counts: int) -> int:
    """Return the smallest number of samples, where 0 stands for all."""
    return min(counts, key=lambda count: count or sys.maxsize)


def write(options: argparse.Namespace, results: dict[str, dict[str, str]]) -> None:
    """Write the results, over those of the same checks in an older file if it is to be kept."""
    path, device = Path(options.json), options.device
    older = json.loads(path.read_text()) if options.merge and path.exists() else {}
    before = older.get(device, {"samples": options.samples, "ops": {}})
    ops = {
        name: {**before["ops"].get(name, {}), **results.get(name, {})}
        for name in [*before["ops"], *(n for n in results if n not in before["ops"])]
    }
    kept = {"samples": fewest(before["samples"], options.samples), "ops": ops}
    path.write_text(json.dumps({**older, device: kept}))


def main() -> None:
    """Run the checks and print, per property, how many ops pass."""
    options = arguments()
    torch.set_num_threads(1)
    ops = [op for op in op_db if resolve(op) is not None]
    if options.missing:
        print("missing:", ", ".join(name_of(op) for op in op_db if op not in ops))
    total: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    results: dict[str, dict[str, str]] = defaultdict(dict)
    for name, (applies, _) in CHECKS.items():
        if not any(fnmatchcase(name, pattern) for pattern in options.property.split(",")):
            continue
        start = time.perf_counter()
        for op in filter(lambda op: chosen(op, options), ops):
            if not applies(op):
                continue
            begun = time.perf_counter()
            failure = ""
            try:
                ran = run(name, op, options.device, options.samples)
            except Exception as error:
                ran, failure = -1, f"{type(error).__name__}: {_line(error)}"
                if options.v:
                    print(f"{name} {name_of(op)}: {failure}")
            if ran:
                results[name_of(op)][name] = failure
            if options.v and time.perf_counter() - begun > 5:
                print(f"{name} {name_of(op)}: took {time.perf_counter() - begun:.0f} s")
            total[name][0] += ran > 0
            total[name][1] += ran != 0
        passed, scope = total[name]
        print(
            f"{name:20} {passed:4} of {scope:4}  {time.perf_counter() - start:5.0f} s", flush=True
        )
        if options.json:  # as it goes: a run of hours that is cut short keeps what it found
            write(options, results)
    print(f"{len(ops)} of the {len(op_db)} ops of the database exist; device {options.device}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


if __name__ == "__main__":
    sys.exit(main())
