"""One training step of five programs, on every library that can take it.

    python -m benchmarks.train [--json] [--rounds 7] [--programs tiny,mlp] [--chart train.png]
    python -m benchmarks.train --tpu [--json] [--programs tiny,mlp]

The programs of `models.py` run on PyTorch and on multitorch, eagerly and compiled; `models_jax.py`
has them written by hand in JAX. All rivals start from the same weights, and their losses must agree
for a few steps before the clock starts. Then they take turns in one process, each step waiting for
its loss. The time to the first result and the memory are measured in a fresh process per rival.
With --tpu nothing runs: the steps are compiled for a TPU that need not be there, and what its
compiler counts is compared.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["MULTITORCH_CACHE"] = ""  # programs are to be compiled, not found on disk
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import multitorch
from benchmarks import models_jax
from benchmarks.models import PROGRAMS, Program, make_step
from benchmarks.timing import race
from benchmarks.train_report import chart, table, tpu_table

Step = Callable[[], float]
BASE = "JAX by hand"
RIVALS: dict[str, tuple[str, str, bool]] = {
    "PyTorch, eager": ("torch", "cpu", False),
    "torch.compile": ("torch", "cpu", True),
    "eager, cpu": ("multitorch", "cpu", False),
    "eager, jax": ("multitorch", "jax", False),
    "compiled, cpu": ("multitorch", "cpu", True),
    "compiled, jax": ("multitorch", "jax", True),
}
"""Label: library, device, whether compiled."""
AGREEING_STEPS = 4
TOPOLOGY = "v5e:1x1"


def initial_state(program: Program) -> dict[str, np.ndarray]:
    """Return the weights and running statistics that every rival starts from."""
    multitorch.manual_seed(0)
    state = program.build(multitorch).state_dict()
    return {name: np.array(value.numpy()) for name, value in state.items()}


def make_rival(label: str, name: str, state: dict[str, np.ndarray]) -> tuple[Step, Any]:
    """Return one rival's step, which returns the loss, and the function that it calls."""
    if label == BASE:
        return jax_rival(name, state)
    library, device, compiled = RIVALS[label]
    torch: Any = importlib.import_module(library)
    program = PROGRAMS[name]
    model = program.build(torch)
    model.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    model.to(device)
    step = make_step(torch, model, program.optimizer(torch, model.parameters()))
    step = torch.compile(step) if compiled else step
    inputs, targets = (torch.tensor(a, device=device) for a in program.batch())
    return lambda: step(inputs, targets).item(), step


def jax_rival(name: str, state: dict[str, np.ndarray]) -> tuple[Step, Any]:
    """Return the step written by hand, and how to lower it."""
    arrays = {key: jnp.array(value) for key, value in state.items() if value.ndim}
    stats = {key: value for key, value in arrays.items() if "running" in key}
    weights = {key: value for key, value in arrays.items() if key not in stats}
    inputs, targets = (jnp.asarray(a) for a in PROGRAMS[name].batch())
    held, jitted = models_jax.make_step(name, weights, stats)

    def call() -> float:
        nonlocal held
        held, loss = jitted(held, inputs, targets)
        return float(loss)

    def lower(sharding: Any = None) -> Any:
        given = (held, inputs, targets)
        if sharding is not None:
            given = jax.tree.map(
                lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), given
            )
        return jitted.lower(*given)

    return call, lower


def present() -> list[str]:
    """Return the labels of the rivals that this machine has."""
    found = [BASE, *RIVALS]
    if not importlib.util.find_spec("torch"):
        found = [label for label in found if label not in ("PyTorch, eager", "torch.compile")]
    elif not any(map(shutil.which, ("g++", "clang++", "c++"))):
        print("no C++ compiler, so no torch.compile", file=sys.stderr)
        found.remove("torch.compile")
    return found


def check_agreement(steps: dict[str, Step]) -> None:
    """Raise unless every rival has the same losses in its first steps."""
    losses = {label: [step() for _ in range(AGREEING_STEPS)] for label, step in steps.items()}
    for label, values in losses.items():
        np.testing.assert_allclose(values, losses[BASE], rtol=1e-3, err_msg=label)


# --- XLA's own cost analysis


def costs(rivals: dict[str, tuple[Step, Any]]) -> dict[str, dict[str, float]]:
    """Return the flops and bytes that XLA counts for the programs that it compiled."""
    found = {BASE: rivals[BASE][1]().compile().cost_analysis()}
    for label, (_, function) in rivals.items():
        if RIVALS.get(label) == ("multitorch", "jax", True):
            found[label] = function.cost()
    return {label: counted(cost) for label, cost in found.items()}


def counted(cost: Any) -> dict[str, float]:
    """Return flops and bytes of XLA's account of a program."""
    return {"flops": cost["flops"], "bytes": cost["bytes accessed"]}


def tpu_costs(name: str) -> dict[str, Any]:
    """Return what the TPU compiler counts for a step by hand and for ours, and its seconds.

    multitorch computes float32 products in float32, which JAX on a TPU does only if it is asked to.
    """
    from multitorch_jax.cache import without_cache
    from multitorch_jax.topology import chip

    program = PROGRAMS[name]
    sharding = jax.sharding.SingleDeviceSharding(chip(TOPOLOGY).device)
    began = time.perf_counter()
    with without_cache(), jax.default_matmul_precision("highest"):
        compiled = jax_rival(name, initial_state(program))[1](sharding).compile()
    by_hand = counted(compiled.cost_analysis()) | {"compile s": time.perf_counter() - began}
    model = program.build(multitorch)
    step = make_step(multitorch, model, program.optimizer(multitorch, model.parameters()))
    batch = tuple(multitorch.tensor(a) for a in program.batch())
    report = multitorch.tpu.estimate(step, batch, TOPOLOGY)
    ours = {"flops": report.flops, "bytes": report.accessed_bytes}
    return {BASE: by_hand, "compiled": ours | {"compile s": report.compile_seconds}}


# --- a fresh process for each rival


def status(field: str) -> int:
    """Return a field of /proc/self/status in KiB; 0 where there is no such file."""
    if not os.path.exists("/proc/self/status"):
        return 0
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def forget_peak() -> None:
    """Make the peak of resident memory what is resident now."""
    if os.path.exists("/proc/self/clear_refs"):
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")


def alone(label: str, name: str) -> dict[str, float]:
    """Return one rival's time to the first result, and its peaks of memory in MiB over the start.

    Libraries are loaded and XLA's client is there before the clock starts.
    """
    state = initial_state(PROGRAMS[name])
    importlib.import_module(RIVALS[label][0] if label in RIVALS else "jax")
    jnp.zeros(1).block_until_ready()
    forget_peak()
    start = status("VmRSS")
    step, _ = make_rival(label, name, state)
    marks = [time.perf_counter()]
    for _ in range(3):  # optimizer state is born in the first step
        step()
        marks.append(time.perf_counter())
    with_compiling = status("VmHWM") - start
    forget_peak()
    steady = []
    for _ in range(5):
        began = time.perf_counter()
        step()
        steady.append(time.perf_counter() - began)
    return {
        "first result, s": marks[1] - marks[0],
        "third result, s": marks[3] - marks[0],
        "compiling, s": max(marks[3] - marks[0] - 3 * min(steady), 0.0),
        "peak, MiB": (status("VmHWM") - start) / 1024,
        "peak with compiling, MiB": with_compiling / 1024,
    }


def in_fresh_process(label: str, name: str) -> dict[str, float]:
    """Run `alone` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.train", "--alone", label, "--programs", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, labels: list[str], rounds: int) -> dict[str, Any]:
    """Return all numbers of one program."""
    state = initial_state(PROGRAMS[name])
    rivals = {label: make_rival(label, name, state) for label in labels}
    steps = {label: step for label, (step, _) in rivals.items()}
    check_agreement(steps)
    times = race(steps, rounds, batch_seconds=20e-3)
    counted = costs(rivals)
    del rivals, steps
    apart = {label: in_fresh_process(label, name) for label in labels}
    return {"title": PROGRAMS[name].title, "us": times, "cost": counted, "alone": apart}


def compare_on_tpu(names: list[str], as_json: bool) -> None:
    """Print what the TPU compiler counts."""
    found = {}
    for name in names:
        found[name] = tpu_costs(name)
        if not as_json:
            print(tpu_table(PROGRAMS[name].title, found[name]), end="\n\n", flush=True)
    if as_json:
        print(json.dumps(found, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="which, comma separated")
    parser.add_argument("--rivals", help="which, by label, separated by semicolons")
    parser.add_argument("--chart", help="where to draw the times as PNG")
    parser.add_argument("--tpu", action="store_true", help="compare what the TPU compiler counts")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(alone(args.alone, args.programs)))
        return
    if args.tpu:
        compare_on_tpu(args.programs.split(","), args.json)
        return
    labels = [n for n in present() if not args.rivals or n in (BASE, *args.rivals.split(";"))]
    found = {}
    for name in args.programs.split(","):
        found[name] = measure(name, labels, args.rounds)
        if not args.json:
            print(table(found[name]), end="\n\n", flush=True)
    if args.chart:
        chart(found, args.chart)
    if args.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
