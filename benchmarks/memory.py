"""Show that a training loop leaves memory flat with the garbage collector off.

    python -m benchmarks.memory --device cpu --steps 10000

Everything that a step makes must go away by reference counting alone: a cycle through a tensor
or a node of the tape would keep a whole step's arrays until the collector ran.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable
from pathlib import Path

import multitorch as mt

PAGE = os.sysconf("SC_PAGE_SIZE")


def make_step(device: str) -> Callable[[], None]:
    """Return a step that trains a small network with dropout, in-place ops and views."""
    mt.manual_seed(0)
    nn = mt.nn
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10),
    ).to(device)  # fmt: skip
    optimizer = mt.optim.Adam(model.parameters(), lr=1e-3)
    images = mt.randn(16, 1, 8, 8).to(device)
    labels = mt.randint(0, 10, (16,)).to(device)

    def step() -> None:
        optimizer.zero_grad()
        batch = images.clone()
        batch[:, :, 0].mul_(0.5)
        loss = mt.nn.functional.cross_entropy(model(batch), labels)
        loss.backward()
        optimizer.step()

    return step


def live_objects() -> int:
    """Count the tensors and tape nodes that exist."""
    return sum(
        type(thing).__name__ in ("Tensor", "Node", "Parameter") for thing in gc.get_objects()
    )


def resident_bytes() -> int:
    """Return the memory that the process holds, or 0 where /proc is missing."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * PAGE if statm.exists() else 0


def measure(step: Callable[[], None], steps: int, warm_up: int = 50) -> tuple[int, int]:
    """Return by how many objects and how many bytes the process grew over the steps."""
    for _ in range(warm_up):
        step()
    gc.collect()
    gc.disable()
    try:
        objects, held = live_objects(), resident_bytes()
        for _ in range(steps):
            step()
        return live_objects() - objects, resident_bytes() - held
    finally:
        gc.enable()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=10_000)
    args = parser.parse_args()
    objects, held = measure(make_step(args.device), args.steps)
    print(
        f"{args.device}: after {args.steps:,} steps, gc off: "
        f"{objects:+d} tensors and nodes, {held / 2**20:+.1f} MiB"
    )


if __name__ == "__main__":
    main()
