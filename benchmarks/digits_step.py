"""One training step of the digits example: compiled by multitorch, and written by hand in JAX.

    python -m benchmarks.digits_step [--json] [--rounds 15]

The same arithmetic on both sides: convolutions, batch norm with running statistics, max pooling,
dropout, cross entropy, Adam. Before the clock starts, the losses of a few steps without dropout are
compared. Every step waits for its loss, as the example's loop does.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import importlib.util
import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.example import load
from benchmarks.timing import race

Step = Callable[[], float]
BATCH, LR, BETAS, EPS, MOMENTUM, DROPOUT = 64, 1e-3, (0.9, 0.999), 1e-8, 0.1, 0.3


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Return fixed images and labels of the example's shapes."""
    rng = np.random.default_rng(0)
    return rng.random((BATCH, 1, 8, 8), np.float32), rng.integers(0, 10, BATCH)


def example_step(library: str, device: str, dropout: float, compiled: bool = False) -> Step:
    """Return the example's own step on one device of multitorch, or on PyTorch."""
    digits = load(library)
    torch = digits.torch
    torch.manual_seed(0)
    model = digits.Net().to(device)
    model.dropout.p = dropout
    step = digits.make_step(model, torch.optim.Adam(model.parameters(), lr=LR))
    step = torch.compile(step) if compiled else step
    images, labels = (torch.tensor(a, device=device) for a in batch())
    return lambda: step(images, labels)[0].item()


def initial_weights() -> dict[str, jax.Array]:
    """Return the weights that the example starts from, by name."""
    digits = load()
    digits.torch.manual_seed(0)
    return {name: jnp.array(p.detach().numpy()) for name, p in digits.Net().named_parameters()}


def conv(x: jax.Array, w: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NCHW", "OIHW", "NCHW")
    )


def batch_norm(x: jax.Array, w: jax.Array, b: jax.Array, stats: dict) -> tuple[jax.Array, dict]:
    """Normalize by the batch; return the result and the updated running statistics."""
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    n = x.size // x.shape[1]
    running = {
        "mean": stats["mean"] + MOMENTUM * (mean - stats["mean"]),
        "var": stats["var"] + MOMENTUM * (var * n / (n - 1) - stats["var"]),
    }
    scale = w * jax.lax.rsqrt(var + 1e-5)
    shift = b - mean * scale
    return x * scale[:, None, None] + shift[:, None, None], running


def max_pool(x: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def network(
    p: dict, stats: list[dict], key: jax.Array, images: jax.Array, labels: jax.Array, dropout: float
) -> tuple[jax.Array, tuple]:
    """Return the loss, and (number right, running statistics)."""
    h, first = batch_norm(
        conv(images, p["features.0.weight"]), p["features.1.weight"], p["features.1.bias"], stats[0]
    )
    h = conv(jax.nn.relu(h), p["features.3.weight"])
    h, second = batch_norm(h, p["features.4.weight"], p["features.4.bias"], stats[1])
    h = max_pool(jax.nn.relu(h)).reshape(len(images), -1)
    if dropout:
        h = jnp.where(jax.random.bernoulli(key, 1 - dropout, h.shape), h / (1 - dropout), 0)
    scores = h @ p["head.weight"].T + p["head.bias"]
    picked = jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], 1)
    return -picked.mean(), ((scores.argmax(1) == labels).sum(), [first, second])


def adam(p: dict, grads: dict, m: dict, v: dict, t: jax.Array) -> tuple[dict, dict, dict]:
    """Return the new weights and moments."""
    tree = jax.tree_util.tree_map
    m = tree(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, m, grads)
    v = tree(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, v, grads)
    size, root = LR / (1 - BETAS[0] ** t), jnp.sqrt(1 - BETAS[1] ** t)
    p = tree(lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + EPS), p, m, v)
    return p, m, v


def jax_step(dropout: float) -> Step:
    """Return the same step written by hand: one jitted function of the whole state."""

    def step(state: tuple, images: jax.Array, labels: jax.Array) -> tuple[tuple, jax.Array]:
        p, m, v, t, stats, key = state
        key, draw = jax.random.split(key)
        (loss, (_, stats)), grads = jax.value_and_grad(network, has_aux=True)(
            p, stats, draw, images, labels, dropout
        )
        t = t + 1
        p, m, v = adam(p, grads, m, v, t)
        return (p, m, v, t, stats, key), loss

    p = initial_weights()
    m, v = ({name: jnp.zeros_like(w) for name, w in p.items()} for _ in range(2))
    stats = [{"mean": jnp.zeros(n), "var": jnp.ones(n)} for n in (16, 32)]
    state = (p, m, v, jnp.float32(0), stats, jax.random.key(0))
    jitted = jax.jit(step, donate_argnums=0)
    images, labels = (jnp.asarray(a) for a in batch())

    def call() -> float:
        nonlocal state
        state, loss = jitted(state, images, labels)
        return float(loss)

    return call


def rivals(dropout: float) -> dict[str, Step]:
    """Return every way to take the step, by label."""
    found = {
        "jax by hand": jax_step(dropout),
        "compiled, jax": example_step("multitorch", "jax", dropout, compiled=True),
        "compiled, cpu": example_step("multitorch", "cpu", dropout, compiled=True),
        "eager, jax": example_step("multitorch", "jax", dropout),
        "eager, cpu": example_step("multitorch", "cpu", dropout),
    }
    if importlib.util.find_spec("torch"):
        found["PyTorch, eager"] = example_step("torch", "cpu", dropout)
    return found


def check_agreement(steps: int = 5) -> None:
    """Raise unless every rival has the same losses without dropout."""
    losses = {name: [step() for _ in range(steps)] for name, step in rivals(0.0).items()}
    for name, values in losses.items():
        np.testing.assert_allclose(values, losses["jax by hand"], rtol=1e-3, err_msg=name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    check_agreement()
    times = race(rivals(DROPOUT), args.rounds, batch_seconds=50e-3)
    if args.json:
        print(json.dumps(times, indent=1))
        return
    print(f"one step of the digits example, batch {BATCH}: median µs, and relative to JAX by hand")
    for name, value in times.items():
        print(f"  {name:16} {value:10.0f} {value / times['jax by hand']:8.2f}")


if __name__ == "__main__":
    main()
