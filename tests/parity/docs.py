"""Write docs/ops.md: every op of the database, by device and property.

    python -m tests.parity.report --json cpu.json
    python -m tests.parity.report --json jax.json --device jax
    python -m tests.parity.docs cpu.json jax.json

`python -m tests.parity.report --merge` measures some ops again, into a file that holds the others.
Without results the lists of ops and gaps are brought up to date, and what was measured is kept.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

from tests.parity.adapter import name_of, op_db, resolve
from tests.parity.checks import CHECKS
from tests.parity.gaps import known
from tests.parity.scope import OUT_OF_SCOPE, missing

PAGE = Path(__file__).parents[2] / "docs" / "ops.md"
GROUPS: dict[str, tuple[str, ...]] = {
    "values": tuple(name for name in CHECKS if name.startswith("forward-")),
    "dtypes": ("dtypes",),
    "gradient": ("gradient", "gradient-complex"),
    "second": ("gradient-second",),
    "in-place": ("inplace",),
    "out=": ("out",),
    "errors": ("errors",),
    "meta": ("meta",),
}
"""Column: the properties that it sums up."""
OK, PART, NO, NONE = "✓", "part", "✗", "·"
_START = f"{NONE} the op has no such property."
Results = dict[str, dict[str, dict[str, str]]]
"""Device and number of samples: op: property: "" if it holds, else what was wrong."""


def read_results(paths: list[str]) -> Results:
    """Return the results in the files that the report wrote."""
    found: Results = {}
    for path in paths:
        for device, kept in json.loads(Path(path).read_text()).items():
            name = f"{device} ({kept['samples'] or 'all'} per op)"
            for op, properties in kept["ops"].items():
                found.setdefault(name, {}).setdefault(op, {}).update(properties)
    return found


def mark(properties: tuple[str, ...], measured: dict[str, str]) -> str:
    """Return what a cell says of some properties of an op on a device."""
    found = [measured[p] for p in properties if p in measured]
    if not found:
        return NONE
    good = sum(1 for failure in found if not failure)
    return OK if good == len(found) else PART if good else NO


def row(name: str, results: Results, tpu: str) -> list[str]:
    """Return the cells of an op: one per group, with a mark per device, and what a TPU does."""
    cells = [f"`{name}`"]
    for properties in GROUPS.values():
        marks = [mark(properties, ops.get(name, {})) for ops in results.values()]
        cells.append(marks[0] if len(set(marks)) == 1 else " / ".join(marks))
    return [*cells, tpu]


def verdicts() -> dict[str, str]:
    """Return by op what the compiler for TPUs made of it: the words that `tpu_legend` explains."""
    from tests.parity import tpu

    fine, found = {tpu.COMPILES: OK, tpu.NOTHING: NONE}, {}
    for name, kinds in json.loads(tpu.TABLE.read_text()).items():
        forward, backward = (kinds.get(d, [tpu.NOTHING])[0] for d in ("forward", "backward"))
        if forward in fine:
            found[name] = f"backward: {backward}" if backward not in fine else fine[forward]
        else:
            found[name] = forward
    return found


def tpu_legend() -> list[str]:
    """Return, as lines of Markdown, what the last column's words mean."""
    from tests.parity import tpu

    seen = Counter(word.removeprefix("backward: ") for word in verdicts().values())
    return [
        "The last column says what the TPU compiler makes of an op's programs, forward and "
        f"backward, and of how many ops: {OK} they compile ({seen[OK]}), or",
        "",
        *[f"- {word}: {text} ({seen[word]})" for word, text in tpu.REMEDY.items() if seen[word]],
    ]


def table(names: list[str], results: Results) -> list[str]:
    """Return the table of all ops as lines of Markdown."""
    tpu = verdicts()
    head = ["op", *GROUPS, "TPU"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in names:
        lines.append(f"| {' | '.join(row(name, results, tpu.get(name, NONE)))} |")
    return lines


def gap_list() -> list[str]:
    """Return the known gaps and what is missing, as lines of Markdown."""
    lines = []
    for reason, where in known().items():
        each = "; ".join(f"{property}: `{op}` on {device}" for property, op, device in where)
        lines.append(f"- {reason} ({each.replace('on *', 'on every device')})")
    return lines


def missing_list() -> list[str]:
    """Return what does not exist, by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in missing().items():
        by_reason.setdefault(reason, []).append(f"`{name}`")
    lines = [f"- {reason}: {', '.join(names)}" for reason, names in by_reason.items()]
    return lines + [f"- not compared: {reason}" for reason in OUT_OF_SCOPE.values()]


def present() -> list[str]:
    """Return the names of the database's ops that exist here, in alphabetical order."""
    return sorted(name_of(op) for op in op_db if resolve(op) is not None)


def summary(results: Results) -> list[str]:
    """Return, per device, how many ops have each group of properties."""
    lines = []
    for device, ops in results.items():
        parts = []
        for group, properties in GROUPS.items():
            marks = Counter(mark(properties, ops.get(name, {})) for name in present())
            scope = sum(n for m, n in marks.items() if m != NONE)
            if scope:
                parts.append(f"{group} {marks[OK]} of {scope}")
        lines.append(f"- {device}: {', '.join(parts)}")
    return lines


def measured(results: Results) -> list[str]:
    """Return the part of the page that measurements make: the summary and the table."""
    devices = " / ".join(results)
    return [
        f"Where devices differ, a cell lists them in this order: {devices}.",
        "",
        *summary(results),
        "",
        *tpu_legend(),
        "",
        *table(present(), results),
    ]


def kept(text: str) -> list[str]:
    """Return that part of an older page, with its rows adapted to the ops that exist now."""
    lines = text.partition(_START)[2].partition("\n## ")[0].strip("\n").splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    head = [line for line in lines if not line.startswith("| `")]
    blank = " |" * (head[-1].count("|") - 2 if head else 0)
    return head + [rows.get(name, f"| `{name}` |{blank}") for name in present()]


def page(body: list[str]) -> str:
    """Return the whole page around the part that was measured."""
    names = present()
    return "\n".join(
        [
            "# Ops",
            "",
            "This page is generated by `python -m tests.parity.docs`; do not edit it.",
            f"Of the {len(op_db)} entries of PyTorch's operator database (variants count), "
            f"{len(names)} exist here.",
            "",
            "Samples of each were compared with PyTorch, property by property: "
            f"{OK} all agree, {PART} some do, {NO} none does, {_START}",
            *body,
            "",
            "## Known gaps",
            "",
            *gap_list(),
            "",
            "## Not there",
            "",
            *missing_list(),
            "",
        ]
    )


def listed(text: str) -> tuple[list[str], list[str]]:
    """Return the ops and the known gaps that a page lists."""
    ops = re.findall(r"^\| `([^`]+)` \|", text, re.M)
    gaps = text.partition("## Known gaps")[2].partition("## ")[0]
    rest = text.partition("## Not there")[2]
    return ops, [x for x in (gaps + rest).splitlines() if x.startswith("- ")]


def main() -> None:
    """Write the page."""
    given = sys.argv[1:]
    if not given and not PAGE.exists():
        sys.exit(f"{PAGE} does not exist: name the results to write it from")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(measured(read_results(given)) if given else kept(PAGE.read_text())))


if __name__ == "__main__":
    main()
