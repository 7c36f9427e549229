"""Time of ops at three sizes: multitorch on cpu, on jax and compiled, against PyTorch.

    python -m benchmarks.ops [--sizes tiny,cache,large] [--ops nn,gather] [--rounds 7] [--json]

Operands of 4 KB (what an op costs before it computes), 1 MB (what a cache holds) and 64 MB. All
rivals take turns in one process; PyTorch runs with its own threads. The table shows PyTorch's time,
and of the others how many times as long they take. Below it: every op that takes more than three
times as long at one of the two larger sizes.
"""

from __future__ import annotations

import os

# Threads that wait by spinning would take the cores from the other libraries.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import gc
import importlib.util
import json
import math
import statistics
from typing import Any

import multitorch
from benchmarks.op_cases import CASES, ON_DATA, Expression, Operands
from benchmarks.timing import Call, time_batch

SIZES = {"tiny": 1 << 10, "cache": 1 << 18, "large": 1 << 24}
"""How many elements the largest operand has."""
BATCH_SECONDS, CASE_SECONDS = 2e-3, 4.0
"""How long one batch of calls takes, and all rounds of one case (two at least)."""
SLOW = 3.0
Row = dict[str, Any]
Case = tuple[str, str, Expression]

# --- measuring -----------------------------------------------------------------------------------


def rivals() -> dict[str, tuple[Any, str]]:
    """Return the libraries and devices to compare: {label: (library, device)}."""
    found: dict[str, tuple[Any, str]] = {"cpu": (multitorch, "cpu")}
    if importlib.util.find_spec("jax"):
        found["jax"] = (multitorch, "jax")
    if importlib.util.find_spec("torch"):
        import torch

        found["torch"] = (torch, "cpu")
    return found


def wait(result: Any) -> None:
    """Return when the tensors of a result are computed."""
    if isinstance(result, (tuple, list)):
        for part in result:
            wait(part)
    elif isinstance(result, multitorch.Tensor):
        ready = getattr(result._a, "block_until_ready", None)
        if ready is not None:
            ready()


def calls(case: Case, worlds: dict[str, Operands]) -> dict[str, Call]:
    """Return one call for each rival; they have run once, so that all operands exist."""
    _, name, expression = case
    found: dict[str, Call] = {}
    for side, o in worlds.items():
        wait(expression(o))
        found[side] = (
            (lambda o=o: wait(expression(o))) if side == "jax" else (lambda o=o: expression(o))
        )
    if "jax" in worlds and name not in ON_DATA:
        program = multitorch.compile(lambda o=worlds["jax"]: expression(o))
        found["compiled"] = lambda: wait(program())
    return found


def race(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Return the median microseconds of each rival; slow cases have fewer rounds."""
    repeats, turn = {}, 0.0
    for side, call in calls.items():
        call()
        call()
        once = time_batch(call, 1)
        repeats[side] = max(1, math.ceil(BATCH_SECONDS / max(once, 1e-7)))
        turn += repeats[side] * once
    samples: dict[str, list[float]] = {side: [] for side in calls}
    for _ in range(max(2, min(rounds, int(CASE_SECONDS / turn)))):
        for side, call in calls.items():
            samples[side].append(time_batch(call, repeats[side]))
    return {side: statistics.median(times) * 1e6 for side, times in samples.items()}


def wanted(patterns: str | None) -> list[Case]:
    """Return the cases whose group is one of the patterns, or whose name holds one."""
    cases = [(g, name, f) for g, group in CASES.items() for name, f in group.items()]
    parts = patterns.split(",") if patterns else [""]
    return [c for c in cases if any(p == c[0] or p in c[1] for p in parts)]


def measure(size: str, cases: list[Case], rounds: int) -> list[Row]:
    """Race the cases at one size; the cases of one group share their operands."""
    rows: list[Row] = []
    group, worlds = "", {}
    for case in cases:
        if case[0] != group:
            group = case[0]
            worlds = {side: Operands(*where, SIZES[size]) for side, where in rivals().items()}
        row: Row = {"group": group, "op": case[1], "size": size}
        rows.append(row | race(calls(case, worlds), rounds))
        gc.collect()
    return rows


# --- output --------------------------------------------------------------------------------------

SIDES = ("cpu", "jax", "compiled")


def ratio(row: Row, side: str) -> float | None:
    """Return how many times as long as PyTorch one side takes."""
    return row[side] / row["torch"] if side in row and "torch" in row else None


def print_table(rows: list[Row]) -> None:
    """Print one line for each op: for each size PyTorch's microseconds, and the ratios to them."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    heads = ("torch µs", *SIDES)
    print(" " * 25 + "".join(size.center(36) for size in sizes))
    print(" " * 25 + "".join(f"{head:>9}" for _ in sizes for head in heads))
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row["group"], row["op"]), {})[row["size"]] = row
    for (_, name), found in lines.items():
        print(name.ljust(25) + "".join(cells(found.get(size, {})) for size in sizes))


def cells(row: Row) -> str:
    """Return what the table says of one op at one size."""
    time = f"{row['torch']:9.0f}" if "torch" in row else " " * 9
    shares = [ratio(row, side) for side in SIDES]
    return time + "".join(f"{'-':>9}" if r is None else f"{r:9.2f}" for r in shares)


def print_means(rows: list[Row]) -> None:
    """Print the geometric mean of the ratios for each group and size."""
    print("\ngeometric means")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["group"], row["size"]), []).append(row)
    for (group, size), members in groups.items():
        means = []
        for side in SIDES:
            found = [r for row in members if (r := ratio(row, side)) is not None]
            means.append(f"{side} {statistics.geometric_mean(found):5.2f}" if found else "")
        print(f"  {group:10} {size:6} " + "   ".join(means))


def print_slow(rows: list[Row]) -> None:
    """Print what takes more than three times as long as PyTorch at the larger sizes."""
    print(f"\nmore than {SLOW:g} x PyTorch at the larger sizes")
    for side in SIDES:
        slow = [
            f"{row['op']} ({row['size']} {r:.1f})"
            for row in rows
            if row["size"] != "tiny" and (r := ratio(row, side)) is not None and r > SLOW
        ]
        print(f"  {side}: " + ("; ".join(slow) or "none"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", default=",".join(SIZES), help="tiny, cache, large")
    parser.add_argument("--ops", help="groups, or parts of names, with commas between them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args()
    cases = wanted(args.ops)
    rows = [row for size in args.sizes.split(",") for row in measure(size, cases, args.rounds)]
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print_table(rows)
    if any("torch" in row for row in rows):
        print_means(rows)
        print_slow(rows)


if __name__ == "__main__":
    main()
