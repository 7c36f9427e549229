"""Compile every op of the database for a TPU, forward and backward: `python -m tests.parity.tpu`.

No TPU is needed: libtpu compiles for one that is not there. The verdicts are kept in
tests/parity/tpu_table.json, which docs/ops.md shows.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import multitorch
from multitorch.backend import registry
from multitorch.graph.inspect import Recorded, record
from multitorch_jax import aot, guard
from tests.parity.adapter import Op, name_of, op_db, resolve
from tests.parity.checks import Call, sample_inputs
from tests.parity.gaps import gap

TABLE = Path(__file__).with_name("tpu_table.json")
TOPOLOGY = "v5e:1x1"
COMPILES, NOTHING, CRASH = "compiles", "nothing", "crash"
DATA, HOST, CALLBACK, DTYPE = "data", "host", "callback", "dtype"
REMEDY = {
    COMPILES: "a program of its own on the TPU",
    DATA: "runs eagerly, where the host learns the shape; under compile an error that says so",
    HOST: "a host fallback with one warning; under compile an error that says so",
    CALLBACK: "runs on the host, with one warning; a compiled program calls back for it",
    DTYPE: "an error that names complex64 as the remedy",
    NOTHING: "needs no program",
    CRASH: "the compiler ends the process",
}
"""Verdict -> what happens on a TPU."""


def dtype_of(op: Op) -> torch.dtype:
    """Return float32 if the op takes it, else another dtype that it takes."""
    dtypes = op.supported_dtypes("cpu")
    wanted = (torch.float32, torch.int64, torch.bool, torch.complex64)
    return next((d for d in wanted if d in dtypes), torch.float32)


def function_of(op: Op, sample: Any, backward: bool) -> Any:
    """Return a function without arguments that runs one sample of an op."""
    call = Call(op, sample, "cpu")

    def run() -> Any:
        result = call.actual()
        if not backward:
            return result
        losses = [t for t in _tensors(result) if t.requires_grad]
        if not losses:
            return None
        total = sum((t.abs() if t.is_complex() else t).sum() for t in losses)
        leaves = [t for t in _tensors(call.ours) if t.requires_grad and t.is_leaf]
        return multitorch.autograd.grad(total, leaves, allow_unused=True)

    return run


def _tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, multitorch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def recorded(op: Op, backward: bool) -> Recorded | None:
    """Return the graph of the first sample that leads to one; None if there is no such sample."""
    samples = sample_inputs(op, dtype_of(op), 12, requires_grad=backward)
    for sample in sorted(samples, key=is_empty):
        found = record(function_of(op, sample, backward))
        if found.graph.calls or found.stopped is not None:
            return found
    return None


def is_empty(sample: Any) -> bool:
    """Whether some tensor of a sample has no elements."""
    given = (sample.input, sample.args, tuple(sample.kwargs.values()))
    return any(not t.numel() for t in torch.utils._pytree.tree_leaves(given) if torch.is_tensor(t))


def verdict(op: Op, backward: bool) -> tuple[str, str]:
    """Return what happens on a TPU, and why if it is not a program of its own."""
    found = recorded(op, backward)
    if found is None:
        return NOTHING, ""
    if found.stopped is not None:
        return DATA, found.stopped[1]
    if found.reads:
        return DATA, f"the host reads a value of {found.reads[0].what}"
    ahead = registry.backend("tpu").compile_ahead(
        found.graph, topology=TOPOLOGY, shapes=found.shapes
    )
    if not ahead.host:
        return COMPILES, ""
    i, why = next(iter(sorted(ahead.host.items())))
    kind = {aot.NO_PROGRAM: CALLBACK, guard.NO_COMPLEX128: DTYPE}.get(why, HOST)
    return kind, f"{found.graph.calls[i].name}: {why}"


def has_gradient(op: Op) -> bool:
    """Whether the op has a derivative for the dtype that it is compiled with."""
    return op.supports_autograd and dtype_of(op) in op.supported_backward_dtypes("cpu")


def ops() -> dict[str, Op]:
    """Return the ops of the database that multitorch has, by name."""
    every = {name_of(op): op for op in op_db if resolve(op) is not None}
    return {name: op for name, op in every.items() if gap("tpu", name, "tpu") is None}


def check(op: Op) -> dict[str, list[str]]:
    """Return the verdicts on an op: direction -> [verdict, why]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {"forward": list(verdict(op, False))}
        if has_gradient(op):
            found["backward"] = list(verdict(op, True))
    return found


def remedies() -> dict[str, str]:
    """Return what a TPU needs for an op, by the op's name, where it needs anything."""
    found = {}
    for name, verdicts in json.loads(TABLE.read_text()).items():
        for direction, (kind, why) in verdicts.items():
            if kind not in (COMPILES, NOTHING) and name not in found:
                only = "" if direction == "forward" else "backward: "
                found[name] = f"{only}{REMEDY[kind]} ({why})"
    return found


def write(table: dict[str, Any]) -> None:
    """Write the table, one op a line."""
    lines = [f"{json.dumps(name)}: {json.dumps(table[name])}" for name in sorted(table)]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    """Compile the chosen ops and write their verdicts into the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-x", default="", help="only these ops (a,b,c)")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--missing", action="store_true", help="only ops not in the table yet")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table: dict[str, Any] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    began = time.perf_counter()
    every = ops()
    table = {name: found for name, found in table.items() if name in every}
    for name, op in every.items():
        if (options.x and name not in options.x.split(",")) or (options.missing and name in table):
            continue
        if time.perf_counter() - began > options.seconds:
            break
        start = time.perf_counter()
        write({**table, name: {"forward": [CRASH, ""]}})  # what the table says if it does
        try:
            table[name] = check(op)
        except Exception as error:
            print(
                f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True
            )
        else:
            print(f"{name}: {table[name]} {time.perf_counter() - start:.1f} s", flush=True)
        write(table)


if __name__ == "__main__":
    main()
