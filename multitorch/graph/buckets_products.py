"""What padding does to products, images, recurrent layers and indices: see `buckets_rules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multitorch.graph.buckets_axes import Axis, Refused, whole
from multitorch.graph.buckets_rewrite import (
    Rewriter,
    Step,
    Value,
    all_whole,
    arrays_of,
    rule,
    syms_of,
)
from multitorch.graph.buckets_rules import INT64, aligned

# --- products -------------------------------------------------------------------------------------


def _contract(R: Rewriter, step: Step, at: tuple[int, int], out: tuple[int, int]) -> Value:
    """Rewrite a product of matrices that is summed over one axis of each."""
    x, y = step.ins[:2]
    R.agree(x.axes[at[0]], y.axes[at[1]])
    lead = R.broadcast([Value(v.sym, v.axes[:-2]) for v in (x, y)])
    axes = [*lead, x.axes[out[0]], y.axes[out[1]]]
    return R.emit(step, axes, ins=(R.masked(x, _at(x, at[0])), R.masked(y, _at(y, at[1]))))


def _at(x: Value, dim: int) -> tuple[int]:
    return (x.ndim + dim,)


@rule("mm matmul")
def _matmul(R: Rewriter, step: Step) -> Value:
    return _contract(R, step, (-1, -2), (-2, -1))


@rule("mm_nt matmul_nt")
def _matmul_nt(R: Rewriter, step: Step) -> Value:
    return _contract(R, step, (-1, -1), (-2, -2))


@rule("mm_tn matmul_tn")
def _matmul_tn(R: Rewriter, step: Step) -> Value:
    return _contract(R, step, (-2, -2), (-1, -1))


@rule("linear")
def _linear(R: Rewriter, step: Step) -> Value:
    x, w, *rest = step.ins
    R.agree(x.axes[-1], w.axes[-1])
    last = R.agree(*[v.axes[0] for v in (w, *arrays_of(tuple(rest)))])
    ins = (R.masked(x, _at(x, -1)), R.masked(w, (1,)), *syms_of(step.ins[2:]))
    return R.emit(step, [*x.axes[:-1], last], ins=ins)


# --- images ---------------------------------------------------------------------------------------


def _leading(R: Rewriter, step: Step, operands: Sequence[Value], count: int) -> Any:
    """Rewrite a kernel that treats the rows of some leading axes alike, each on its own."""
    lead = R.broadcast([Value(v.sym, v.axes[:count]) for v in operands])
    for v in arrays_of(step.ins):
        shared = count if any(v is o for o in operands) else 0
        all_whole(v, range(shared, v.ndim), "a dimension that it mixes")
    result = R.F.call(step.name, syms_of(step.ins), step.params)
    found = [
        R.value(r, [*lead, *map(whole, r.shape[count:])])
        for r in (result if result.__class__ is tuple else (result,))
    ]
    return tuple(found) if result.__class__ is tuple else found[0]


@rule("convolution conv_input_grad im2col col2im")
def _convolution(R: Rewriter, step: Step) -> Any:
    return _leading(R, step, step.ins[:1], 1)


@rule("conv_weight_grad")
def _conv_weight_grad(R: Rewriter, step: Step) -> Value:
    y, x = step.ins
    R.agree(y.axes[0], x.axes[0])
    for v in (y, x):
        all_whole(v, range(1, v.ndim), "a dimension that it mixes")
    return _plain(R, R.F.call(step.name, (R.masked(y, (0,)), R.masked(x, (0,))), step.params))


@rule("max_pool max_pool_with_indices max_pool_backward avg_pool avg_pool_backward")
def _pool(R: Rewriter, step: Step) -> Any:
    arrays = arrays_of(step.ins)
    return _leading(R, step, arrays, arrays[0].ndim - len(step.params["kernel"]))


@rule("adaptive_avg_pool adaptive_avg_pool_backward")
def _adaptive_pool(R: Rewriter, step: Step) -> Any:
    return _leading(R, step, step.ins, step.ins[0].ndim - len(step.params["size"]))


# --- recurrent layers -----------------------------------------------------------------------------

_BY_TIME, _BY_ROW = ("g_out", "x", "out", "gates", "cells"), ("g_h", "g_c", "h", "c")
_RECURRENT = {
    "lstm_layer": "x h c w_ih w_hh b_ih b_hh w_hr lengths",
    "gru_layer": "x h w_ih w_hh b_ih b_hh lengths",
    "rnn_layer": "x h w_ih w_hh b_ih b_hh lengths",
    "lstm_layer_backward": "g_out g_h g_c x h c w_ih w_hh w_hr lengths out gates cells",
    "gru_layer_backward": "g_out g_h x h w_ih w_hh lengths out gates",
    "rnn_layer_backward": "g_out g_h x h w_ih w_hh lengths out",
}


@rule(" ".join(_RECURRENT))
def _recurrent(R: Rewriter, step: Step) -> Any:
    """Rewrite a layer of (time, batch, width): padded steps are those beyond every length."""
    names = _RECURRENT[step.name].split()
    given = dict(zip(names, step.ins, strict=True))
    present = {name: v for name, v in given.items() if v is not None}
    time = R.agree(*[present[n].axes[0] for n in _BY_TIME if n in present])
    batch = R.agree(
        *[present[n].axes[1] for n in _BY_TIME if n in present],
        *[present[n].axes[0] for n in (*_BY_ROW, "lengths") if n in present],
    )
    ins = dict(given, lengths=_lengths(R, given, time, batch))
    for name, v in present.items():
        if name != "lengths":
            rows = 2 if name in _BY_TIME else 1 if name in _BY_ROW else 0
            all_whole(v, range(rows, v.ndim), "a dimension that it mixes")
            # weights' gradients are sums over rows and steps
            dims = range(rows) if "out" in given else ()
            ins[name] = R.masked(v, dims)
    result = R.F.call(step.name, tuple([ins[n] for n in names]), step.params)
    last = 1 + sum(n in names for n in ("h", "c"))
    return tuple([
        _by_rows(R, r, time, batch) if i < last or "out" not in given else _plain(R, r)
        for i, r in enumerate(result)
    ])  # fmt: skip


def _lengths(R: Rewriter, given: dict[str, Any], time: Axis, batch: Axis) -> Any:
    """Return how many steps each row has, where that is not all."""
    if given["lengths"] is not None or not time.is_padded:
        return syms_of(given["lengths"])
    if not time.is_prefix:
        raise Refused("the padded steps are not the last ones")
    like = R.F.iota(given["x"].sym, size=1, dtype=INT64)
    return R.F.filled(like, R.size((time,)), shape=(batch.padded,))


def _by_rows(R: Rewriter, sym: Any, time: Axis, batch: Axis) -> Value:
    lead = (time, batch) if sym.ndim == 3 else (batch,)
    return R.value(sym, (*lead, whole(sym.shape[-1])))


def _plain(R: Rewriter, sym: Any) -> Value:
    return R.value(sym, [whole(n) for n in sym.shape])


# --- indices --------------------------------------------------------------------------------------


def _bounded(R: Rewriter, x: Value, index: Any, dim: int) -> Any:
    """Return indices into an axis that count from its real end if negative, and stay in it."""
    axis = x.axes[dim]
    if not axis.is_padded:
        return index.sym
    if not axis.is_prefix:
        raise Refused("the padded elements are not the last ones")
    F, size = R.F, R.size((axis,))
    at = F.where(F.lt(index.sym, R.constant(0)), F.add(index.sym, size), index.sym)
    return F.minimum(at, F.sub(size, R.constant(1)))


@rule("embedding")
def _embedding(R: Rewriter, step: Step) -> Value:
    weight, index = step.ins
    all_whole(weight, (0,), "the table of embeddings")
    return R.emit(step, [*index.axes, weight.axes[1]])


@rule("index_select")
def _index_select(R: Rewriter, step: Step) -> Value:
    x, index = step.ins
    dim = step.params["dim"]
    if not x.ndim or index.ndim != 1:
        raise Refused("an index that is no vector")
    axes = list(x.axes)
    axes[dim] = index.axes[0]
    return R.emit(step, axes, ins=(x.sym, _bounded(R, x, index, dim)))


@rule("index_add")
def _index_add(R: Rewriter, step: Step) -> Value:
    x, index, src = step.ins
    dim = step.params["dim"]
    if not x.ndim or index.ndim != 1 or src.ndim != x.ndim:
        raise Refused("an index that is no vector")
    R.agree(index.axes[0], src.axes[dim])
    axes = aligned(R, x, src, dim, keeps=True)
    return R.emit(step, axes, ins=(x.sym, _bounded(R, x, index, dim), R.masked(src, (dim,))))


def _rows(R: Rewriter, x: Value, others: Sequence[Value], dim: int) -> list[Axis]:
    """Return the axes other than `dim`, in which indices read and write their own rows."""
    axes = []
    for i in range(x.ndim):
        mine = [v.axes[i] for v in (x, *others)]
        if i == dim:
            axes.append(x.axes[i])
        elif len({a.real for a in mine}) == 1:
            axes.append(R.agree(*mine))
        elif any(a.is_padded for a in mine):
            raise Refused("the indices are fewer than the rows")
        else:
            axes.append(x.axes[i])
    return axes


@rule("gather")
def _gather(R: Rewriter, step: Step) -> Value:
    x, index = step.ins
    dim = step.params["dim"]
    if not x.ndim or index.ndim != x.ndim:
        raise Refused("an index of other dimensions")
    _rows(R, x, [index], dim)
    return R.emit(step, index.axes, ins=(x.sym, _bounded(R, x, index, dim)))


@rule("scatter_add")
def _scatter_add(R: Rewriter, step: Step) -> Value:
    x, index, src = step.ins
    dim = step.params["dim"]
    if not x.ndim or index.ndim != x.ndim or src.__class__ is not Value or src.ndim != x.ndim:
        raise Refused("an index of other dimensions")
    axes = _rows(R, x, [index, src], dim)
    if index.axes[dim].is_padded or src.axes[dim].is_padded:
        R.agree(index.axes[dim], src.axes[dim])
    ins = (x.sym, _bounded(R, x, index, dim), R.masked(src, (dim,)))
    return R.emit(step, axes, ins=ins)


@rule("scatter")
def _scatter(R: Rewriter, step: Step) -> Value:
    x, index, src = step.ins
    dim = step.params["dim"]
    if not x.ndim or index.ndim != x.ndim:
        raise Refused("an index of other dimensions")
    others = [v for v in (index, src) if v.__class__ is Value and v.ndim == x.ndim]
    axes = _rows(R, x, others, dim)
    for v in others:
        all_whole(v, (dim,), "the dimension of the indices")
    return R.emit(step, axes, ins=(x.sym, _bounded(R, x, index, dim), *syms_of((src,))))


@rule("index")
def _index(R: Rewriter, step: Step) -> Value:
    x, *indices = step.ins
    ins = [_bounded(R, x, i, d) if i is not None else None for d, i in enumerate(indices)]
    return R.emit(step, _indexed(R, x, indices), ins=(x.sym, *ins))


def _indexed(R: Rewriter, x: Value, indices: Sequence[Value | None]) -> list[Axis]:
    """Return the axes of `x[indices]`: those of the indices stand where the first of them does."""
    at = [d for d, i in enumerate(indices) if i is not None]
    given = [i for i in indices if i is not None]
    if any(i.sym.dtype.kind == "b" for i in given):
        raise Refused("a mask as an index")
    rest = [a for d, a in enumerate(x.axes) if d not in at]
    first = at[0] if at == list(range(at[0], at[-1] + 1)) else 0
    return [*rest[:first], *R.broadcast(given), *rest[first:]]


@rule("index_put")
def _index_put(R: Rewriter, step: Step) -> Value:
    x, values, *indices = step.ins
    into = _indexed(R, x, indices)
    if values.__class__ is not Value or values.ndim != len(into):
        raise Refused("a value that is stored at many places")
    for a, b in zip(into, values.axes, strict=True):
        if b.real != 1 or a.is_padded:
            R.agree(a, b)
    at = [d for d, i in enumerate(indices) if i is not None]
    first = at[0] if at == list(range(at[0], at[-1] + 1)) else 0
    count = max(i.ndim for i in indices if i is not None)
    dims = range(first, first + count)
    if not step.params["accumulate"]:
        all_whole(values, dims, "the dimension of the indices")
        if any(into[d].is_padded for d in dims):
            raise Refused("padded indices would overwrite what is real")
    elif any(into[d].is_padded and not values.axes[d].is_padded for d in dims):
        raise Refused("a value that is added at many places")
    ins = [_bounded(R, x, i, d) if i is not None else None for d, i in enumerate(indices)]
    return R.emit(step, x.axes, ins=(x.sym, R.masked(values, dims), *ins))
