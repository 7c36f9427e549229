"""What padding does to the kernels: one rule for each family.

A rule gets the pass (`Rewriter`) and a call (`Step`), records what computes the real part of its
result, and says which axes of it are padded. It raises `Refused` if that cannot be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from multitorch.graph.buckets_axes import Axis, Refused, cut_factor, padded_shape, regroup, whole
from multitorch.graph.buckets_rewrite import (
    FIRST,
    Number,
    Rewriter,
    Step,
    Value,
    all_whole,
    arrays_of,
    rule,
    syms_of,
)

INT64 = np.dtype(np.int64)
# --- element by element ---------------------------------------------------------------------------

POINTWISE = """
add sub rsub mul div floor_divide trunc_divide remainder fmod neg square cube sqrt rsqrt reciprocal
pow rpow sign sgn abs eq ne lt le gt ge isnan isinf isfinite isposinf isneginf signbit logical_and
logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not
bitwise_left_shift bitwise_right_shift gcd lcm where maximum minimum fmax fmin clamp clamp_min
clamp_max conj real imag angle complex_ polar exp exp2 expm1 log log2 log10 log1p logaddexp
logaddexp2 xlogy xlog1py sigmoid logit sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh
atan2 hypot sinc erf erfc erfcx erfinv ndtri log_ndtr lgamma digamma polygamma zeta i0 i0e i1 i1e
entr gammainc gammaincc floor ceil trunc frac round round_decimals copysign nextafter heaviside
nan_to_num lerp addcmul addcdiv deg2rad rad2deg relu threshold_backward leaky_relu prelu hardtanh
threshold hardsigmoid hardswish hardshrink softshrink elu silu silu_backward mish mish_backward
log_sigmoid softplus gelu gelu_backward bce bce_with_logits masked_fill detach clone contiguous
"""


@rule(POINTWISE)
def _pointwise(R: Rewriter, step: Step) -> Value:
    return R.emit(step, R.broadcast(arrays_of(step.ins)))


@rule("cast cast_grad")
def _cast(R: Rewriter, step: Step) -> Value:
    x = step.ins[0]
    return R.emit(step, x.axes, x.zero) if x.__class__ is Value else R.emit(step, ())


@rule("cond while_loop scan")
def _control(R: Rewriter, step: Step) -> Any:
    raise Refused("what its body does to padding is not known")


# --- shapes ---------------------------------------------------------------------------------------


@rule("reshape")
def _reshape(R: Rewriter, step: Step) -> Value:
    x = step.ins[0]
    axes = regroup(x.axes, step.params["shape"])
    return R.emit(step, axes, x.zero, shape=padded_shape(axes))


@rule("permute")
def _permute(R: Rewriter, step: Step) -> Value:
    x = step.ins[0]
    return R.emit(step, [x.axes[d] for d in step.params["dims"]], x.zero)


@rule("expand")
def _expand(R: Rewriter, step: Step) -> Value:
    x, shape = step.ins[0], step.params["shape"]
    made = R.source_axes(step.source, shape)
    lead = len(shape) - x.ndim
    axes = [
        x.axes[i - lead] if i >= lead and x.axes[i - lead].real != 1 else made[i]
        for i in range(len(shape))
    ]
    return R.emit(step, axes, shape=padded_shape(axes))


@rule("unreduce")
def _unreduce(R: Rewriter, step: Step) -> Value:
    x, shape, dims = step.ins[0], step.params["shape"], step.params["dim"]
    made = R.source_axes(step.source, shape)
    kept = iter(x.axes)
    axes = []
    for i in range(len(shape)):
        if i not in dims:
            axes.append(next(kept))
            continue
        axes.append(made[i])
        if step.params["keepdim"]:
            next(kept)
    return R.emit(step, axes, shape=padded_shape(axes))


@rule("sum_to")
def _sum_to(R: Rewriter, step: Step) -> Value:
    x, shape = step.ins[0], step.params["shape"]
    lead = x.ndim - len(shape)
    gone = [i for i, a in enumerate(x.axes) if i < lead or shape[i - lead] == 1 != a.real]
    axes = [whole(1) if i in gone else a for i, a in enumerate(x.axes)][lead:]
    return R.emit(step, axes, ins=(R.masked(x, gone),), shape=padded_shape(axes))


@rule("cat")
def _cat(R: Rewriter, step: Step) -> Value:
    xs, dim = arrays_of(step.ins), step.params["dim"]
    for x in xs:
        all_whole(x, (dim,), "the dimension that is joined")
    axes = [
        whole(sum(x.axes[i].real for x in xs)) if i == dim else R.agree(*[x.axes[i] for x in xs])
        for i in range(xs[0].ndim)
    ]
    return R.emit(step, axes, all(x.zero for x in xs))


@rule("stack")
def _stack(R: Rewriter, step: Step) -> Value:
    xs, dim = arrays_of(step.ins), step.params["dim"]
    axes = list(R.broadcast(xs))
    axes.insert(dim, whole(len(xs)))
    return R.emit(step, axes, all(x.zero for x in xs))


@rule("pad")
def _pad(R: Rewriter, step: Step) -> Value:
    x, pad = step.ins[0], step.params["pad"]
    all_whole(x, [d for d, ends in enumerate(pad) if any(ends)], "the dimension")
    axes = [whole(a.real + sum(p)) if any(p) else a for a, p in zip(x.axes, pad, strict=True)]
    return R.emit(step, axes)


@rule("flip")
def _flip(R: Rewriter, step: Step) -> Value:
    x, F = step.ins[0], R.F
    dims = [d for d in step.params["dims"] if x.axes[d].is_padded]
    rest = tuple([d for d in step.params["dims"] if d not in dims])
    out = F.flip(x.sym, dims=rest) if rest else x.sym
    for d in dims:
        axis = x.axes[d]
        if not axis.is_prefix:
            raise Refused("the padded elements are not the last ones")
        last = F.sub(R.size((axis,)), R.constant(1))
        back = F.sub(last, F.iota(x.sym, size=axis.padded, dtype=INT64))
        out = F.index_select(out, F.maximum(back, R.constant(0)), dim=d)
    return R.value(out, x.axes)


# --- pieces ---------------------------------------------------------------------------------------


def _known_start(x: Value, start: Any, dim: int) -> None:
    """Refuse a place in a padded axis that was not checked when the call was recorded."""
    if x.axes[dim].is_padded and (start.__class__ is not Number or not x.axes[dim].is_prefix):
        raise Refused("it takes a computed piece of the padded dimension")


def _cut(axis: Axis, length: int, step: int) -> Axis:
    """Return the axis of a piece: one that lacks an element or two is taken for 'all but those'."""
    less = axis.real - length
    if not less:
        return axis
    if step > 1 or less > 2 or 2 * less >= length:
        return whole(length)
    if axis.is_padded and len(axis.factors) == 1:
        return Axis((cut_factor(axis.factors[0], less),), axis.origins)
    return whole(length, frozenset() if axis.is_padded else axis.origins)


@rule("slice")
def _slice(R: Rewriter, step: Step) -> Value:
    x, dim, length = step.ins[0], step.params["dim"], step.params["length"]
    _known_start(x, step.ins[1], dim)
    axes = list(x.axes)
    axes[dim] = _cut(axes[dim], length, step.params["step"])
    return R.emit(step, axes, length=axes[dim].padded)


@rule("select")
def _select(R: Rewriter, step: Step) -> Value:
    x, dim = step.ins[0], step.params["dim"]
    _known_start(x, step.ins[1], dim)
    return R.emit(step, [a for i, a in enumerate(x.axes) if i != dim])


def aligned(R: Rewriter, x: Value, src: Value, dim: int, keeps: bool) -> list[Axis]:
    """Return the axes of `x`, which `src` has too but for `dim`."""
    others = [a for i, a in enumerate(src.axes) if i != dim] if keeps else list(src.axes)
    mine = [a for i, a in enumerate(x.axes) if i != dim]
    axes = [R.agree(a, b) for a, b in zip(mine, others, strict=True)]
    axes.insert(dim, x.axes[dim])
    return axes


@rule("select_scatter")
def _select_scatter(R: Rewriter, step: Step) -> Value:
    x, src, start = step.ins
    _known_start(x, start, step.params["dim"])
    return R.emit(step, aligned(R, x, src, step.params["dim"], keeps=False))


@rule("slice_scatter")
def _slice_scatter(R: Rewriter, step: Step) -> Value:
    x, src, start = step.ins
    dim, length = step.params["dim"], step.params["length"]
    _known_start(x, start, dim)
    axes = aligned(R, x, src, dim, keeps=True)
    piece = src.axes[dim]
    if not piece.is_padded:
        return R.emit(step, axes)
    f = piece.factors[0]
    if len(piece.factors) > 1 or f.label is None or step.params["step"] != 1:
        raise Refused("the piece that is stored is padded")
    R.agree(axes[dim], Axis((cut_factor(f, length - axes[dim].real),)))
    F = R.F
    line = tuple([a.padded if i == dim else 1 for i, a in enumerate(src.axes)])
    real = F.reshape(R.valid(piece, src.sym), shape=line)
    old = F.slice(x.sym, start, dim=dim, length=piece.padded, step=1)
    new = F.where(real, src.sym, old)
    return R.emit(step, axes, ins=(x.sym, new, start), length=piece.padded)


# --- arrays that are made -------------------------------------------------------------------------


@rule("new_zeros new_full filled constant")
def _made(R: Rewriter, step: Step) -> Value:
    axes = R.source_axes(step.source, step.params["shape"])
    return R.emit(step, axes, step.name == "new_zeros", shape=padded_shape(axes))


@rule("iota arange")
def _counted(R: Rewriter, step: Step) -> Value:
    (axis,) = R.source_axes(step.source, (step.params["size"],))
    if not axis.is_prefix:
        raise Refused("it numbers the elements of a padded dimension")
    return R.emit(step, (axis,), size=axis.padded)


@rule("eye")
def _eye(R: Rewriter, step: Step) -> Any:
    return R.take_apart(step)


@rule("random_bits random_uniform random_normal random_bernoulli random_integers")
def _random(R: Rewriter, step: Step) -> Value:
    """Draw more numbers: each depends on its place in the flat array, so the first stay."""
    axes = R.source_axes(step.source, step.params["shape"])
    for v in arrays_of(step.ins[2:]):
        lead = len(axes) - v.ndim
        axes = tuple([
            R.agree(a, v.axes[i - lead]) if i >= lead else a for i, a in enumerate(axes)
        ])  # fmt: skip
    padded = [a for a in axes if a.is_padded]
    if padded and step.params["dtype"].kind == "c":
        raise Refused("complex random numbers are drawn in two parts")
    if padded and not (len(padded) == 1 and axes[0].is_padded and axes[0].is_prefix):
        raise Refused("the random numbers would be others: a dimension behind the first is padded")
    return R.emit(step, axes, shape=padded_shape(axes))


# --- reductions -----------------------------------------------------------------------------------


def _dims(step: Step) -> tuple[int, ...]:
    dim = step.params.get("dim")
    if dim is None:
        return tuple(range(step.ins[0].ndim))
    return tuple(dim) if isinstance(dim, tuple) else (dim,) if step.ins[0].ndim else ()


def _reduced(x: Value, dims: Sequence[int], keepdim: bool) -> list[Axis]:
    kept = [whole(1) if i in dims else a for i, a in enumerate(x.axes)]
    return kept if keepdim else [a for i, a in enumerate(kept) if i not in dims]


_NEUTRAL = {"sum": 0, "prod": 1, "amax": FIRST, "amin": FIRST, "all": FIRST, "any": FIRST}


@rule(" ".join(_NEUTRAL))
def _reduce(R: Rewriter, step: Step) -> Value:
    x, dims = step.ins[0], _dims(step)
    axes = _reduced(x, dims, step.params["keepdim"])
    return R.emit(step, axes, ins=(R.masked(x, dims, _NEUTRAL[step.name]),))


@rule("mean")
def _mean(R: Rewriter, step: Step) -> Value:
    x, dims = step.ins[0], _dims(step)
    axes = _reduced(x, dims, step.params["keepdim"])
    if not any(x.axes[d].is_padded for d in dims):
        return R.emit(step, axes)
    F, dtype, total = R.F, x.sym.dtype, R.masked(x, dims)
    if dtype.itemsize == 2:
        total = F.cast(total, dtype=np.dtype(np.float32))
    total = F.sum(total, dim=dims, keepdim=step.params["keepdim"])
    out = F.div(total, R.size([x.axes[d] for d in dims]))
    return R.value(out if out.dtype == dtype else F.cast(out, dtype=dtype), axes)


@rule("argmax argmin max_dim min_dim")
def _extreme(R: Rewriter, step: Step) -> Any:
    x, dims = step.ins[0], _dims(step)
    padded = [d for d in dims if x.axes[d].is_padded]
    if padded and not (padded == [dims[0]] and x.axes[dims[0]].is_prefix):
        raise Refused("the index would count padding")
    # of equal elements the first is taken: never one that repeats the first row
    return _results(R, step, (R.masked(x, dims, FIRST),), dims)


def _results(R: Rewriter, step: Step, ins: tuple, dims: Sequence[int]) -> Any:
    axes = _reduced(step.ins[0], dims, step.params["keepdim"])
    result = R.F.call(step.name, ins, step.params)
    if result.__class__ is tuple:
        return tuple([R.value(r, axes) for r in result])
    return R.value(result, axes)


@rule("logsumexp var std vector_norm median mode kthvalue")
def _reduce_rows(R: Rewriter, step: Step) -> Any:
    dims = _dims(step)
    if any(step.ins[0].axes[d].is_padded for d in dims):
        return R.take_apart(step)
    return _results(R, step, syms_of(step.ins), dims)


@rule("cumsum cumprod cummax cummin")
def _running(R: Rewriter, step: Step) -> Any:
    x, dim = step.ins[0], step.params["dim"]
    if x.ndim and not x.axes[dim].is_prefix:
        raise Refused("the padded elements are not the last ones")
    fill = {"cumsum": 0, "cumprod": 1}.get(step.name, FIRST)
    result = R.F.call(step.name, (R.masked(x, (dim,) if x.ndim else (), fill),), step.params)
    if result.__class__ is tuple:
        return tuple([R.value(r, x.axes) for r in result])
    return R.value(result, x.axes)


# --- along whole dimensions -----------------------------------------------------------------------


@rule("softmax log_softmax softmax_backward log_softmax_backward")
def _along(R: Rewriter, step: Step) -> Any:
    axes = R.broadcast(arrays_of(step.ins))
    if axes and axes[step.params["dim"]].is_padded:
        return R.take_apart(step)
    return R.emit(step, axes)


@rule("sort argsort topk")
def _sorted(R: Rewriter, step: Step) -> Any:
    x, dim = step.ins[0], step.params["dim"]
    if not x.ndim:
        return R.take_apart(step)
    all_whole(x, (dim,), "the dimension that is sorted")
    result = R.F.call(step.name, (x.sym,), step.params)
    found = []
    for r in result if result.__class__ is tuple else (result,):
        axes = [whole(r.shape[dim]) if i == dim else a for i, a in enumerate(x.axes)]
        found.append(R.value(r, axes))
    return tuple(found) if result.__class__ is tuple else found[0]


@rule("normalize normalize_backward")
def _normalize(R: Rewriter, step: Step) -> Any:
    x = step.ins[0]
    dims = step.params["dim"]
    axes = R.broadcast(arrays_of(step.ins))
    if any(axes[d].is_padded for d in dims):
        return R.take_apart(step)
    out = Value(x.sym, axes)
    kept = [axes] * 3 if step.name != "normalize" else [axes, *[_reduced(out, dims, True)] * 2]
    result = R.F.call(step.name, syms_of(step.ins), step.params)
    return tuple([R.value(r, a) for r, a in zip(result, kept, strict=True)])
