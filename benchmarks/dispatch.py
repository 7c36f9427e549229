"""Microseconds of one eager op: multitorch on cpu and jax, and PyTorch where it is installed.

    python -m benchmarks.dispatch [--json] [--rounds 15]

Matrices of 32x32 float32, so that the numbers tell what the dispatcher costs, with the tape off and
on. All rivals take turns in one process, on one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import importlib.util
import json
import statistics
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import multitorch
from benchmarks.timing import Call, race

# (group, name, expression of the operands `o`, whether it can be differentiated)
OPS: list[tuple[str, str, Callable[[Any], Any], bool]] = [
    ("pointwise", "x + y", lambda o: o.x + o.y, True),
    ("pointwise", "x * y", lambda o: o.x * o.y, True),
    ("pointwise", "x / y", lambda o: o.x / o.y, True),
    ("pointwise", "x + 1.5", lambda o: o.x + 1.5, True),
    ("pointwise", "x + row", lambda o: o.x + o.row, True),
    ("pointwise", "-x", lambda o: -o.x, True),
    ("pointwise", "x.exp()", lambda o: o.x.exp(), True),
    ("pointwise", "x.tanh()", lambda o: o.x.tanh(), True),
    ("pointwise", "x.relu()", lambda o: o.x.relu(), True),
    ("pointwise", "where(m, x, y)", lambda o: o.lib.where(o.mask, o.x, o.y), True),
    ("pointwise", "x > y", lambda o: o.x > o.y, False),
    ("pointwise", "z.add_(y)", lambda o: o.z.add_(o.y), False),
    ("view", "x.view(-1)", lambda o: o.x.view(-1), True),
    ("view", "x.t()", lambda o: o.x.t(), True),
    ("view", "x.transpose(0, 1)", lambda o: o.x.transpose(0, 1), True),
    ("view", "x.unsqueeze(0)", lambda o: o.x.unsqueeze(0), True),
    ("view", "row.expand(32, 32)", lambda o: o.row.expand(32, 32), True),
    ("indexing", "x[3]", lambda o: o.x[3], True),
    ("indexing", "x[4:20]", lambda o: o.x[4:20], True),
    ("indexing", "x[:, 1:9]", lambda o: o.x[:, 1:9], True),
    ("indexing", "x[index]", lambda o: o.x[o.index], True),
    ("indexing", "x.gather(1, i)", lambda o: o.x.gather(1, o.indices), True),
    ("matmul", "x @ y", lambda o: o.x @ o.y, True),
    ("matmul", "linear(x, y, b)", lambda o: o.F.linear(o.x, o.y, o.row), True),
    ("matmul", "bmm", lambda o: o.lib.bmm(o.cube, o.cube), True),
    ("reduction", "x.sum()", lambda o: o.x.sum(), True),
    ("reduction", "x.mean(1)", lambda o: o.x.mean(1), True),
    ("reduction", "x.amax(1)", lambda o: o.x.amax(1), True),
    ("reduction", "x.argmax(1)", lambda o: o.x.argmax(1), False),
    ("fused", "x.softmax(1)", lambda o: o.x.softmax(1), True),
    ("fused", "layer_norm", lambda o: o.F.layer_norm(o.x, (32,)), True),
    ("fused", "cross_entropy", lambda o: o.F.cross_entropy(o.x, o.index), True),
]
WIDTH, BATCH, DEPTH = 32, 16, 4


def operands(lib: Any, device: str, grad: bool) -> SimpleNamespace:
    """Return the same operands as tensors of one library on one device."""
    rng = np.random.default_rng(0)

    def tensor(*shape: int, grad: bool = grad) -> Any:
        values = lib.tensor(rng.random(shape, np.float32) + 0.5, device=device)
        return values.requires_grad_() if grad else values

    def integers(*shape: int) -> Any:
        return lib.tensor(rng.integers(0, 32, shape), device=device)

    return SimpleNamespace(
        lib=lib,
        F=lib.nn.functional,
        x=tensor(32, 32),
        y=tensor(32, 32),
        z=tensor(32, 32, grad=False),
        row=tensor(32),
        cube=tensor(4, 32, 32),
        mask=tensor(32, 32, grad=False) > 1.0,
        index=integers(32),
        indices=integers(32, 32),
    )


def mlp(lib: Any, device: str) -> Call:
    """Return forward and backward of four layers `h = (h @ w).relu()`."""
    rng = np.random.default_rng(0)
    x = lib.tensor(rng.standard_normal((BATCH, WIDTH), np.float32), device=device)
    weights = [
        lib.tensor(rng.standard_normal((WIDTH, WIDTH), np.float32) / WIDTH**0.5, device=device)
        for _ in range(DEPTH)
    ]
    for w in weights:
        w.requires_grad_()

    def forward_and_backward() -> None:
        h = x
        for w in weights:
            h = (h @ w).relu()
        (h * h).sum().backward()
        for w in weights:
            w.grad = None

    return forward_and_backward


def mlp_in_jitted_ops() -> Call:
    """Return the same network by hand: one `jax.jit` call for each op and for each derivative."""
    import jax
    import jax.numpy as jnp

    matmul, relu = jax.jit(lambda h, w: h @ w), jax.jit(lambda h: jnp.maximum(h, 0))
    square, total = jax.jit(lambda h: h * h), jax.jit(jnp.sum)
    total_vjp = jax.jit(lambda g: jnp.broadcast_to(g, (BATCH, WIDTH)))
    square_vjp = jax.jit(lambda g, h: 2 * g * h)
    relu_vjp = jax.jit(lambda g, out: jnp.where(out > 0, g, 0))
    matmul_vjp = jax.jit(lambda g, h, w: (g @ w.T, h.T @ g))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((BATCH, WIDTH), np.float32))
    weights = [
        jnp.asarray(rng.standard_normal((WIDTH, WIDTH), np.float32)) / WIDTH**0.5
        for _ in range(DEPTH)
    ]
    one = jnp.float32(1)

    def forward_and_backward() -> list[Any]:
        inputs, h = [], x
        for w in weights:
            inputs.append(h)
            h = relu(matmul(h, w))
        total(square(h))
        g, grads = square_vjp(total_vjp(one), h), []
        for i in reversed(range(DEPTH)):
            g = relu_vjp(g, h)
            h = inputs[i]
            g, grad = matmul_vjp(g, h, weights[i])
            grads.append(grad)
        return grads

    return forward_and_backward


def rivals() -> dict[str, tuple[Any, str]]:
    """Return the libraries and devices to compare: {label: (library, device)}."""
    found: dict[str, tuple[Any, str]] = {"cpu": (multitorch, "cpu")}
    if importlib.util.find_spec("jax"):
        found["jax"] = (multitorch, "jax")
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
        found["torch"] = (torch, "cpu")
    return found


def measure_ops(sides: dict[str, tuple[Any, str]], rounds: int) -> list[dict[str, Any]]:
    """Race every op, with the tape off and on."""
    rows = []
    for grad in (False, True):
        worlds = {side: operands(*where, grad) for side, where in sides.items()}
        for group, name, expression, differentiable in OPS:
            if grad and not differentiable:
                continue
            calls = {side: (lambda o=o, f=expression: f(o)) for side, o in worlds.items()}
            rows.append({"group": group, "op": name, "grad": grad} | race(calls, rounds))
    return rows


def measure_mlp(sides: dict[str, tuple[Any, str]], rounds: int) -> dict[str, float]:
    """Race forward and backward of the small network."""
    calls = {side: mlp(*where) for side, where in sides.items()}
    if "jax" in sides:
        calls["jax.jit per op"] = mlp_in_jitted_ops()
    return race(calls, rounds, batch_seconds=10e-3)


def ratios(rows: list[dict[str, Any]], side: str, rival: str) -> dict[str, float]:
    """Return the geometric mean of side/rival for every group, without and with the tape."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        key = f"{row['group']}, tape {'on' if row['grad'] else 'off'}"
        groups.setdefault(key, []).append(row[side] / row[rival])
    return {key: statistics.geometric_mean(values) for key, values in groups.items()}


def print_table(rows: list[dict[str, Any]], sides: list[str]) -> None:
    """Print one line for each op: microseconds with the tape off, then on."""
    by_op: dict[str, dict[bool, dict[str, Any]]] = {}
    for row in rows:
        by_op.setdefault(row["op"], {})[row["grad"]] = row
    heads = [f"{side}{mark}" for mark in ("", "+grad") for side in sides]
    print("µs".ljust(22) + "".join(f"{head:>12}" for head in heads))
    for op, pair in by_op.items():
        cells = [
            f"{pair[grad][side]:12.2f}" if grad in pair else " " * 12
            for grad in (False, True)
            for side in sides
        ]
        print(op.ljust(22) + "".join(cells))


def print_ratios(title: str, values: dict[str, float]) -> None:
    """Print the geometric means, one line for each group."""
    print(f"\n{title}, geometric mean of the ratios")
    for key, value in values.items():
        print(f"  {key:24} {value:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    sides = rivals()
    rows, network = measure_ops(sides, args.rounds), measure_mlp(sides, args.rounds)
    means = {
        side: ratios(rows, side, "torch") for side in sides if "torch" in sides and side != "torch"
    }
    if args.json:
        print(json.dumps({"ops": rows, "mlp": network, "ratio to torch": means}, indent=1))
        return
    print_table(rows, list(sides))
    for side, values in means.items():
        print_ratios(f"{side} / torch", values)
    print(f"\n{DEPTH}-layer MLP of width {WIDTH}, forward and backward, µs")
    for side, value in network.items():
        print(f"  {side:24} {value:8.1f}")


if __name__ == "__main__":
    main()
