"""Text tables and chart of what `benchmarks.train` measured."""

from __future__ import annotations

from typing import Any

BASE, REFERENCE = "JAX by hand", "PyTorch, eager"
Found = dict[str, dict[str, Any]]


def table(program: dict[str, Any]) -> str:
    """Return the lines of one program: one for each rival, then XLA's cost analysis."""
    times, apart = program["us"], program["alone"]
    head = f"{'':16}{'µs a step':>11}{'/ JAX':>8}{'/ PyTorch':>11}{'first s':>9}{'third s':>9}"
    lines = [program["title"], head + f"{'compile s':>11}{'MiB':>7}{'compiling':>11}"]
    for label, us in times.items():
        reference = f"{us / times[REFERENCE]:11.2f}" if REFERENCE in times else " " * 11
        one = apart[label]
        lines.append(
            f"{label:16}{us:11.0f}{us / times[BASE]:8.2f}{reference}"
            f"{one['first result, s']:9.2f}{one['third result, s']:9.2f}"
            f"{one['compiling, s']:11.2f}"
            f"{one['peak, MiB']:7.0f}{one['peak with compiling, MiB']:11.0f}"
        )
    return "\n".join([*lines, *cost_lines(program["cost"])])


def cost_lines(costs: dict[str, dict[str, float]]) -> list[str]:
    """Return what XLA counts for the compiled step, and relative to the step by hand."""
    hand = costs[BASE]
    return [
        f"XLA's count, {label}: {c['flops'] / 1e6:.2f} Mflop ({c['flops'] / hand['flops']:.3f}), "
        f"{c['bytes'] / 1e6:.2f} MB ({c['bytes'] / hand['bytes']:.3f})"
        for label, c in costs.items()
    ]


def tpu_table(title: str, costs: dict[str, dict[str, float]]) -> str:
    """Return what the TPU compiler counts for one program, and how long it takes."""
    seconds = ", ".join(f"{label} {c['compile s']:.1f} s" for label, c in costs.items())
    return "\n".join([title, *cost_lines(costs), f"compiled in: {seconds}"])


def chart(found: Found, path: str) -> None:
    """Draw the times of all rivals relative to JAX by hand, program by program."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots()
    labels = [label for label in next(iter(found.values()))["us"] if label != BASE]
    width = 0.8 / len(labels)
    for i, label in enumerate(labels):
        ratios = [program["us"][label] / program["us"][BASE] for program in found.values()]
        places = [p + (i - (len(labels) - 1) / 2) * width for p in range(len(found))]
        bars = axes.bar(places, [r - 1 for r in ratios], width, bottom=1, label=label)
        axes.bar_label(bars, [f"{r:.2f}" for r in ratios], fontsize=7)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.15)
    axes.set_ylabel("time of one step / JAX by hand")
    us = [program["us"][BASE] for program in found.values()]
    names = [f"{name}\n{t / 1e3:.3g} ms by hand" for name, t in zip(found, us, strict=True)]
    axes.set_xticks(range(len(found)), names)
    axes.legend(fontsize=8, ncols=3)
    figure.savefig(path, dpi=150)
