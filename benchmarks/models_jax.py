"""The programs of `models.py` written by hand in JAX: pure functions, one jit, donated state.

Weights are a dict by the PyTorch models' parameter names, in PyTorch's layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Tree = dict[str, Array]
EPS = 1e-5


def linear(p: Tree, name: str, x: Array) -> Array:
    """Return x Wᵀ + b; without b where the layer has none."""
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def cross_entropy(scores: Array, targets: Array) -> Array:
    """Return the mean negative log likelihood."""
    logs = jax.nn.log_softmax(scores)
    return -jnp.take_along_axis(logs, targets[..., None], -1).mean()


# --- models: scores and new running statistics


def dense(p: Tree, stats: Tree, x: Array) -> tuple[Array, Tree]:
    last = max(int(name.split(".")[0]) for name in p)
    for i in range(0, last, 2):
        x = jax.nn.relu(linear(p, str(i), x))
    return linear(p, str(last), x), stats


def conv(x: Array, w: Array, stride: int = 1) -> Array:
    pad = w.shape[-1] // 2
    return jax.lax.conv_general_dilated(
        x, w, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NCHW", "OIHW", "NCHW")
    )


def batch_norm(p: Tree, stats: Tree, new: Tree, name: str, x: Array) -> Array:
    """Normalize by the batch, and put the updated running statistics into `new`."""
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    count = x.size // x.shape[1]
    for key, now in (("running_mean", mean), ("running_var", var * count / (count - 1))):
        new[f"{name}.{key}"] = 0.9 * stats[f"{name}.{key}"] + 0.1 * now
    scale = p[f"{name}.weight"] * jax.lax.rsqrt(var + EPS)
    shift = p[f"{name}.bias"] - mean * scale
    return x * scale[:, None, None] + shift[:, None, None]


def cnn(p: Tree, stats: Tree, x: Array) -> tuple[Array, Tree]:
    new: Tree = {}
    norm = partial(batch_norm, p, stats, new)
    h = jax.nn.relu(norm("norm", conv(x, p["stem.weight"])))
    for i, stride in enumerate((1, 2, 2)):
        block = f"stages.{i}"
        inner = conv(h, p[f"{block}.conv1.weight"], stride)
        inner = jax.nn.relu(norm(f"{block}.norm1", inner))
        inner = norm(f"{block}.norm2", conv(inner, p[f"{block}.conv2.weight"]))
        if f"{block}.short.weight" in p:
            h = conv(h, p[f"{block}.short.weight"], stride)
        h = jax.nn.relu(inner + h)
    return linear(p, "head", h.mean((2, 3))), new


def layer_norm(p: Tree, name: str, x: Array) -> Array:
    mean = x.mean(-1, keepdims=True)
    unit = (x - mean) * jax.lax.rsqrt(x.var(-1, keepdims=True) + EPS)
    return unit * p[f"{name}.weight"] + p[f"{name}.bias"]


def attend(p: Tree, name: str, x: Array, heads: int = 4) -> Array:
    """Causal self-attention."""
    n, t, c = x.shape
    parts = linear(p, f"{name}.qkv", x).reshape(n, t, 3, heads, c // heads)
    q, k, v = parts.transpose(2, 0, 3, 1, 4)
    scores = q @ k.swapaxes(-1, -2) * (c // heads) ** -0.5
    scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -jnp.inf)
    y = jax.nn.softmax(scores) @ v
    return linear(p, f"{name}.mix", y.swapaxes(1, 2).reshape(n, t, c))


def gpt(p: Tree, stats: Tree, tokens: Array, layers: int = 4) -> tuple[Array, Tree]:
    x = p["token.weight"][tokens] + p["place"]
    for i in range(layers):
        block = f"blocks.{i}"
        x = x + attend(p, block, layer_norm(p, f"{block}.norm1", x))
        h = linear(p, f"{block}.rise", layer_norm(p, f"{block}.norm2", x))
        x = x + linear(p, f"{block}.fall", jax.nn.gelu(h, approximate=False))
    return linear(p, "head", layer_norm(p, "norm", x)), stats


def lstm_layer(p: Tree, layer: int, x: Array) -> Array:
    """Run one layer over (time, batch, width)."""
    w_ih, w_hh, b_ih, b_hh = (
        p[f"lstm.{kind}_l{layer}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )

    def step(state: tuple[Array, Array], z: Array) -> tuple[tuple[Array, Array], Array]:
        h, c = state
        i, f, g, o = jnp.split(z + h @ w_hh.T, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = jnp.zeros((x.shape[1], w_hh.shape[1]))
    return jax.lax.scan(step, (start, start), x @ w_ih.T + b_ih + b_hh)[1]


def lstm(p: Tree, stats: Tree, tokens: Array) -> tuple[Array, Tree]:
    x = p["token.weight"][tokens].swapaxes(0, 1)
    for layer in range(2):
        x = lstm_layer(p, layer, x)
    return linear(p, "head", x.swapaxes(0, 1)), stats


# --- optimizers: state at the start, and the update


def no_state(p: Tree) -> dict[str, Any]:
    return {}


def sgd(p: Tree, g: Tree, state: dict, lr: float = 0.01) -> tuple[Tree, dict]:
    return {n: p[n] - lr * g[n] for n in p}, state


def one_moment(p: Tree) -> dict[str, Any]:
    return {n: jnp.zeros_like(w) for n, w in p.items()}


def momentum(p: Tree, g: Tree, v: Tree, lr: float = 0.01, decay: float = 5e-4) -> tuple[Tree, Tree]:
    v = {n: 0.9 * v[n] + (g[n] + decay * p[n]) for n in p}
    return {n: p[n] - lr * v[n] for n in p}, v


def two_moments(p: Tree) -> dict[str, Any]:
    return {"t": jnp.float32(0), "m": one_moment(p), "v": one_moment(p)}


def adam(p: Tree, g: Tree, state: dict, lr: float = 1e-3, decay: float = 0) -> tuple[Tree, dict]:
    t = state["t"] + 1
    m = {n: 0.9 * state["m"][n] + 0.1 * g[n] for n in p}
    v = {n: 0.999 * state["v"][n] + 0.001 * g[n] * g[n] for n in p}
    size, root = lr / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
    shrink = 1 - lr * decay
    p = {n: p[n] * shrink - size * m[n] / (jnp.sqrt(v[n]) / root + 1e-8) for n in p}
    return p, {"t": t, "m": m, "v": v}


PROGRAMS: dict[str, tuple[Callable, Callable, Callable]] = {
    "tiny": (dense, no_state, sgd),
    "mlp": (dense, two_moments, adam),
    "cnn": (cnn, one_moment, momentum),
    "gpt": (gpt, two_moments, partial(adam, lr=3e-4, decay=0.1)),
    "lstm": (lstm, two_moments, adam),
}


def make_step(name: str, weights: Tree, stats: Tree) -> tuple[Any, Callable]:
    """Return the state at the start, and the jitted `(state, inputs, targets) -> (state, loss)`."""
    model, start, update = PROGRAMS[name]

    def loss_of(p: Tree, stats: Tree, inputs: Array, targets: Array) -> tuple[Array, Tree]:
        scores, stats = model(p, stats, inputs)
        return cross_entropy(scores, targets), stats

    def step(state: tuple, inputs: Array, targets: Array) -> tuple[tuple, Array]:
        p, stats, moments = state
        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(p, stats, inputs, targets)
        return (*_update(p, grads, stats, moments),), loss

    def _update(p: Tree, grads: Tree, stats: Tree, moments: Any) -> tuple:
        p, moments = update(p, grads, moments)
        return p, stats, moments

    return (weights, stats, start(weights)), jax.jit(step, donate_argnums=0)
