"""Multi-head attention over (length, batch, features), with every projection."""

from __future__ import annotations

import math
from typing import Any

from multitorch import dtypes
from multitorch.nn.composite.dropout import dropout
from multitorch.ops.activation import scaled_dot_product_attention, softmax
from multitorch.ops.join import cat
from multitorch.ops.linalg import baddbmm, linear
from multitorch.ops.products import bmm
from multitorch.ops.shape import pad
from multitorch.tensor import Tensor


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return softmax(Q Kᵀ / √d + mask) V of `num_heads` heads, projected, and the weights.

    Query (L, N, E), key (S, N, E) and value (S, N, E), or without N; output (L, N, E) and weights
    (N, L, S), or (N, heads, L, S) where they are not averaged, or None without `need_weights`.
    `key_padding_mask` (N, S) and `attn_mask` (L, S) or (N heads, L, S): a mask of bool leaves out
    where it is true, another is added.
    """
    batched = _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads)
    alike = query is key and key is value
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, width = query.shape
    _check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    padding = _added(key_padding_mask, query, "key_padding_mask")
    mask, is_causal = _attention_mask(query, attn_mask, padding, need_weights, is_causal)
    mask = _check_mask(mask, length, key.shape[0], batch * num_heads)
    if use_separate_proj_weight:
        separate = (q_proj_weight, k_proj_weight, v_proj_weight)
        projected = _project(query, key, value, separate, in_proj_bias)
    elif alike:
        projected = linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        projected = _project(query, key, value, _thirds(in_proj_weight), in_proj_bias)
    biases, static = (bias_k, bias_v), (static_k, static_v)
    q, k, v, grown = _heads(projected, biases, static, add_zero_attn, batch * num_heads)
    mask = _merge(mask, padding, grown, batch, num_heads)
    p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        out, weights = _attend(q, k, v, mask, p)
        out = out.transpose(0, 1)
        weights = weights.reshape(batch, num_heads, length, k.shape[1])
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    else:
        out = _attend_fused(q, k, v, mask, p, is_causal, batch, num_heads)
    out = linear(out.reshape(length * batch, width), out_proj_weight, out_proj_bias)
    out = out.reshape(length, batch, out.shape[1])
    return (out if batched else out.squeeze(1)), weights


# --- checks --------------------------------------------------------------------------------------


def _check_ranks(
    query: Tensor, key: Tensor, value: Tensor, padding: Any, mask: Any, heads: int
) -> bool:
    """Return whether the inputs have a batch dimension."""
    rank = query.dim()
    if rank not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor"
        )
    kind = f"For {'batched (3-D)' if rank == 3 else 'unbatched (2-D)'} `query`, expected"
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"{kind} `key` and `value` to be {rank}-D but found {key.dim()}-D and {value.dim()}-D "
            "tensors respectively"
        )
    if padding is not None and padding.dim() != rank - 1:
        raise AssertionError(
            f"{kind} `key_padding_mask` to be `None` or {rank - 1}-D but found {padding.dim()}-D "
            "tensor instead"
        )
    if mask is not None and mask.dim() not in (2, 3):
        raise AssertionError(
            f"{kind} `attn_mask` to be `None`, 2-D or 3-D but found {mask.dim()}-D tensor instead"
        )
    if rank == 2 and mask is not None and mask.dim() == 3:
        expected = (heads, query.shape[0], key.shape[0])
        if tuple(mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected}")
    return rank == 3


def _check_sizes(
    query: Tensor, key: Tensor, value: Tensor, expected: int, heads: int, separate: bool
) -> None:
    width = query.shape[-1]
    if width != expected:
        raise AssertionError(f"was expecting embedding dimension of {expected}, but got {width}")
    if width % heads:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {heads}")
    if separate and key.shape[:2] != value.shape[:2]:
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        )
    if not separate and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


# --- masks ---------------------------------------------------------------------------------------


def _added(mask: Tensor | None, query: Tensor, name: str) -> Tensor | None:
    """Return a mask as numbers to add to the scores."""
    if mask is None or mask.dtype.is_floating_point:
        return mask
    if mask.dtype is not dtypes.bool_:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return query.new_zeros(mask.shape).masked_fill(mask, -math.inf)


def _attention_mask(
    query: Tensor, mask: Tensor | None, padding: Tensor | None, need_weights: bool, causal: bool
) -> tuple[Tensor | None, bool]:
    if causal and mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if causal and padding is None and not need_weights:
        return None, True
    return _added(mask, query, "attn_mask"), causal and padding is None


def _check_mask(mask: Tensor | None, length: int, keys: int, rows: int) -> Tensor | None:
    if mask is None:
        return None
    expected = (length, keys) if mask.dim() == 2 else (rows, length, keys)
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {tuple(mask.shape)}, but should be "
            f"{expected}."
        )
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _merge(
    mask: Tensor | None, padding: Tensor | None, grown: int, batch: int, heads: int
) -> Tensor | None:
    """Return the sum of both masks, with zeros for keys that were added."""
    if grown:
        mask = None if mask is None else pad(mask, (0, grown))
        padding = None if padding is None else pad(padding, (0, grown))
    if padding is None:
        return mask
    keys = padding.shape[1]
    rows = padding.reshape(batch, 1, 1, keys).expand(-1, heads, -1, -1)
    rows = rows.reshape(batch * heads, 1, keys)
    return rows if mask is None else mask + rows


# --- projections and heads -----------------------------------------------------------------------


def _thirds(weight: Tensor | None) -> Any:
    if weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    return weight.chunk(3)


def _project(query: Tensor, key: Tensor, value: Tensor, weights: Any, bias: Tensor | None) -> Any:
    for name, weight in zip("qkv", weights):
        if weight is None:
            raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return [linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases)]


def _heads(projected: Any, biases: Any, static: Any, zeros: bool, rows: int) -> tuple:
    """Return queries, keys and values (rows, length, head), and how many keys were added."""
    q, *pair = projected
    length, batch, width = q.shape
    head, grown = width * batch // rows, 0
    if any(b is not None for b in biases):
        if any(b is None for b in biases):
            raise AssertionError("bias_k and bias_v must be given together")
        if any(s is not None for s in static):
            raise AssertionError("bias cannot be added to static key or value.")
        pair = [cat([x, b.repeat(1, batch, 1)]) for x, b in zip(pair, biases)]
        grown = 1
    pair = [_head(*given, rows, head) for given in zip(pair, static, ("static_k", "static_v"))]
    if zeros:
        pair = [cat([x, x.new_zeros(rows, 1, head)], 1) for x in pair]
        grown += 1
    return q.reshape(length, rows, head).transpose(0, 1), *pair, grown


def _head(x: Tensor, static: Tensor | None, name: str, rows: int, head: int) -> Tensor:
    if static is None:
        return x.reshape(x.shape[0], rows, head).transpose(0, 1)
    if static.shape[0] != rows or static.shape[2] != head:
        raise AssertionError(
            f"expecting {name} of sizes ({rows}, *, {head}), but got {tuple(static.shape)}"
        )
    return static


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float
) -> tuple[Tensor, Tensor]:
    scaled, keys = q * math.sqrt(1.0 / q.shape[-1]), k.transpose(-2, -1)
    scores = bmm(scaled, keys) if mask is None else baddbmm(mask, scaled, keys)
    weights = softmax(scores, -1)
    if p > 0.0:
        weights = dropout(weights, p)
    return bmm(weights, v), weights


def _attend_fused(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float, causal: bool, batch: int,
    heads: int,
) -> Tensor:  # fmt: skip
    """Return (L, N, E)."""
    if mask is not None:
        single = mask.shape[0] == 1
        mask = mask.unsqueeze(0) if single else mask.reshape(batch, heads, *mask.shape[1:])
    q, k, v = (t.reshape(batch, heads, *t.shape[1:]) for t in (q, k, v))
    return scaled_dot_product_attention(q, k, v, mask, p, causal).permute(2, 0, 1, 3)
