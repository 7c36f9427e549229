"""What is checked of an op: one function per property, run over a few samples of the database.

A check raises AssertionError (or whatever multitorch raised); it returns how many samples it ran.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

import multitorch
from tests.parity.adapter import (
    Op,
    assert_same,
    counterpart,
    lookup,
    resolve,
    to_multitorch,
    to_torch,
    tolerances,
)

LISTED = 64
"""How many samples of an op are listed; the ones that run are spread evenly over these."""
UNINITIALIZED = {
    "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided",
    "resize_",
}  # fmt: skip
TIES = {"sort": 0, "argsort": 0, "mode": 0, "topk": 1, "kthvalue": 1, "median": 0, "nanmedian": 0}
"""Ops that may return any of several equal elements, with the position of their dimension."""
RANDOM = (
    "bernoulli", "cauchy", "dropout", "dropout2d", "dropout3d", "exponential",
    "fractional_max_pool2d", "fractional_max_pool3d", "geometric", "log_normal",
    "multi_head_attention_forward", "multinomial", "normal", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "rrelu", "uniform",
)  # fmt: skip
"""Endings of the names of ops that draw random numbers."""
GAUGED = {"linalg.eig", "linalg.eigh", "linalg.svd", "pca_lowrank", "svd", "svd_lowrank"}
"""Ops whose results are only fixed up to signs or phases, which the database takes away."""
Samples = list[Any]


def sample_inputs(op: Op, dtype: torch.dtype, count: int, requires_grad: bool = False) -> Samples:
    """Return `count` samples spread over the first ones of the database, or all if it is 0."""
    torch.manual_seed(0)
    every = op.sample_inputs("cpu", dtype, requires_grad=requires_grad)
    samples = list(every if not count else itertools.islice(every, LISTED))
    if not count or len(samples) <= count:
        return samples
    step = (len(samples) - 1) / max(count - 1, 1)
    return [samples[round(i * step)] for i in range(count)]


class Call:
    """One sample on both sides: PyTorch's arguments and multitorch's."""

    def __init__(self, op: Op, sample: Any, device: str) -> None:
        self.op, self.sample, self.device = op, sample, device
        self.theirs = (sample.input, tuple(sample.args), dict(sample.kwargs))
        self.ours = to_multitorch(self.theirs, device)
        function = resolve(op)
        assert function is not None
        self.function = function

    @property
    def draws_apart(self) -> bool:
        """Whether the numbers are random: only the cpu draws the same ones as PyTorch."""
        return self.op.name.endswith(RANDOM) and self.device != "cpu"

    def expected(self, function: Callable | None = None, **extra: Any) -> Any:
        """Run PyTorch's function."""
        x, args, kwargs = self.theirs
        torch.manual_seed(3)
        return (function or self.op.op)(x, *args, **kwargs, **extra)

    def expected_without_data(self) -> Any:
        """Run PyTorch's function on its own device "meta"."""
        x, args, kwargs = _on_meta(self.theirs)
        return self.op.op(x, *args, **kwargs)

    def actual(self, function: Callable | None = None, **extra: Any) -> Any:
        """Run multitorch's function."""
        x, args, kwargs = self.ours
        multitorch.manual_seed(3)
        return (function or self.function)(x, *args, **kwargs, **extra)

    def same(self, actual: Any, expected: Any, dtype: torch.dtype) -> None:
        """Compare results; of uninitialized memory, only the kind."""
        actual = to_torch(actual)
        if self.op.name in UNINITIALIZED or self.draws_apart:
            actual, expected = _zeros(actual), _zeros(expected)
        elif self.op.name in GAUGED:
            process = self.sample.output_process_fn_grad
            actual, expected = process(actual), process(expected)
        elif self.op.name in TIES:
            actual, expected = self._read(actual), self._read(expected)
        assert_same(actual, expected, **tolerances(self.op, dtype))

    def _read(self, result: Any) -> Any:
        """Put what the indices point to in place of the indices."""
        if isinstance(result, tuple):
            return result[0], self._read_at(result[1])
        return self._read_at(result) if self.op.name == "argsort" else result

    def _read_at(self, index: torch.Tensor) -> torch.Tensor:
        x, args, kwargs = self.theirs
        at = TIES[self.op.name]
        dim = kwargs.get("dim", args[at] if len(args) > at else -1)
        if not x.ndim or not index.numel():
            return index
        return x.gather(dim, index if index.ndim == x.ndim else index.unsqueeze(dim))


def _on_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("meta")
    if isinstance(value, dict):
        moved = {k: _on_meta(v) for k, v in value.items()}
        return {**moved, "device": "meta"} if moved.get("device") is not None else moved
    return type(value)(map(_on_meta, value)) if isinstance(value, (list, tuple)) else value


def _zeros(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_zeros(v) for v in value)
    return torch.zeros_like(value)


def calls(op: Op, device: str, dtype: torch.dtype, count: int, **kw: Any) -> Iterator[Call]:
    """Yield the samples that PyTorch itself accepts."""
    for sample in sample_inputs(op, dtype, count, **kw):
        yield Call(op, sample, device)


def quietly(function: Callable) -> Any:
    """Call a function of PyTorch's; return None if it refuses."""
    try:
        return function()
    except Exception:
        return None


# --- values


def forward(dtype: torch.dtype) -> Callable:
    """Return the check of values, dtypes and shapes for inputs of a dtype."""

    def check(op: Op, device: str, count: int) -> int:
        ran = 0
        for call in calls(op, device, dtype, count):
            expected = quietly(call.expected)
            if expected is None:
                continue
            actual = call.actual()
            try:
                call.same(actual, expected, dtype)
            except AssertionError:
                if dtype != torch.bfloat16 or not _as_exact(call, actual, expected):
                    raise
            ran += 1
        return ran

    return check


def _as_exact(call: Call, actual: Any, expected: Any) -> bool:
    """Whether a half-precision result is as near to the exact one as PyTorch's."""
    x, args, kwargs = _doubled(call.theirs)
    torch.manual_seed(3)
    exact = call.op.op(x, *args, **kwargs)
    parts = [_flat(to_torch(actual)), _flat(expected), _flat(exact)]
    for a, e, x in zip(*parts, strict=True):
        if a.dtype != e.dtype or a.shape != e.shape:
            return False
        if a.is_floating_point() and not (a - x).abs().max() <= (e - x).abs().max():
            return False
    return True


def _doubled(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().double() if value.is_floating_point() else value
    if value == torch.bfloat16:
        return torch.float64
    if isinstance(value, dict):
        return {k: _doubled(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_doubled(v) for v in value)
    return value


def method(op: Op, device: str, count: int) -> int:
    """Check the method of `Tensor`."""
    theirs, ran = op.get_method(), 0
    for call in calls(op, device, _float(op), count):
        expected = quietly(lambda call=call: call.expected(theirs))
        if expected is None:
            continue
        ours = counterpart(theirs)
        call.same(call.actual(ours), expected, _float(op))
        ran += 1
    return ran


def inplace(op: Op, device: str, count: int) -> int:
    """Check the method that overwrites its input: values, identity and, if any, gradients."""
    theirs, ran = op.get_inplace(), 0
    dtype = torch.float64 if torch.float64 in op.supported_dtypes("cpu") else _float(op)
    grads = op.supports_inplace_autograd and _differentiable(op, dtype)
    for call in calls(op, device, dtype, count, requires_grad=grads):
        if call.sample.broadcasts_input or not isinstance(call.sample.input, torch.Tensor):
            continue
        x, args, kwargs = call.theirs
        target = x.clone()
        torch.manual_seed(3)
        given = quietly(lambda t=target, a=args, k=kwargs: theirs(t, *a, **k))
        if given is None:
            continue
        ours = counterpart(theirs)
        x, args, kwargs = call.ours
        written = x.clone()
        multitorch.manual_seed(3)
        result = ours(written, *args, **kwargs)
        assert result is written or given is not target, "the result is not the tensor written to"
        call.same(written, target, dtype)
        if grads and target.requires_grad:
            _compare_gradients(call, written, target, dtype, order=1)
        ran += 1
    return ran


def out(op: Op, device: str, count: int) -> int:
    """Check `out=`, with a result of the right shape and with an empty one that grows to it."""
    ran = 0
    for call in calls(op, device, _float(op), count):
        expected = quietly(call.expected)
        if expected is None:
            continue
        many = isinstance(expected, tuple)
        results = expected if many else (expected,)
        if not all(isinstance(t, torch.Tensor) for t in results):
            continue
        given = tuple(torch.empty(0 if ran % 2 else t.shape, dtype=t.dtype) for t in results)
        if quietly(lambda c=call, g=given: c.expected(out=g if many else g[0])) is None:
            continue
        given = tuple(to_multitorch(g, device) for g in given)
        returned = call.actual(out=given if many else given[0])
        returned = tuple(returned) if many else (returned,)
        assert all(a is b for a, b in zip(returned, given, strict=True)), "out is not returned"
        call.same(given, results, _float(op))
        ran += 1
    return ran


def meta(op: Op, device: str, count: int) -> int:
    """Check that device "meta" gives the shapes and dtypes of PyTorch's results, without data."""
    ran = 0
    for call in calls(op, "meta", _float(op), count):
        expected = quietly(call.expected)
        if expected is None or quietly(lambda c=call: c.expected_without_data()) is None:
            continue
        assert_same(_kinds(call.actual()), _kinds(expected))
        ran += 1
    return ran


def _kinds(value: Any) -> Any:
    """Return what is known of a result without its data, in a form that can be compared."""
    if isinstance(value, (torch.Tensor, multitorch.Tensor)):
        return f"{value.dtype}{list(value.shape)}"
    return tuple(map(_kinds, value)) if isinstance(value, (list, tuple)) else str(value)


def dtypes(op: Op, device: str, count: int) -> int:
    """Check the shapes and dtypes of results for every dtype whose values no other check sees."""
    ran = 0
    rest = set(op.supported_dtypes("cpu")) - {torch.complex32, *FORWARD}
    for dtype in sorted(rest, key=str):
        every = op.sample_inputs("cpu", dtype)
        for sample in itertools.islice(every, 1 if count else None):  # the first: they are many
            call = Call(op, sample, device)
            expected = quietly(call.expected)
            if expected is None:
                continue
            try:
                actual = call.actual()
            except Exception as e:
                raise AssertionError(f"{dtype}: {type(e).__name__}: {e}") from e
            assert _kinds(actual) == _kinds(expected), dtype
            ran += 1
    return ran


def forms(op: Op, device: str, count: int) -> int:
    """Check that an op is where PyTorch has it: as a function, a method, and in place."""
    names = [op.name] if "." not in op.name else []
    for name in [n for n in names if hasattr(torch.Tensor, n)]:
        assert hasattr(multitorch.Tensor, name), f"no method Tensor.{name}"
    for name in [n for n in names if hasattr(torch, n)]:
        assert hasattr(multitorch, name), f"no function torch.{name}"
    for name in [f"{n}_" for n in names if hasattr(torch.Tensor, f"{n}_")]:
        assert hasattr(multitorch.Tensor, name), f"no method Tensor.{name}"
    for alias in op.aliases:
        where = alias.name.removeprefix("torch.")
        assert lookup(where) is not None, f"no alias {where}"
    return 1


def errors(op: Op, device: str, count: int) -> int:
    """Check that bad inputs raise an exception of the same type."""
    ran = 0
    for error in op.error_inputs("cpu"):
        call = quietly(lambda e=error: Call(op, e.sample_input, device))
        if call is None:  # an earlier refusal has left a tensor without memory
            continue
        try:
            call.expected()
        except error.error_type:
            pass
        except Exception:
            continue
        else:
            continue
        ran += 1
        try:
            call.actual()
        except error.error_type:
            continue
        except Exception as e:
            text = f"{type(e).__name__}({e}) in place of {error.error_type}: {error.error_regex}"
            raise AssertionError(text) from e
        given = _brief((error.sample_input.input, error.sample_input.args))
        raise AssertionError(f"no {error.error_type}: {error.error_regex}; {given}")
    return ran


def _brief(value: Any) -> Any:
    """Return an argument with shapes in place of tensors, whose memory a refused call may spoil."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    return [_brief(v) for v in value] if isinstance(value, (list, tuple)) else value


# --- derivatives


def gradient(dtype: torch.dtype, order: int) -> Callable:
    """Return the check of derivatives of an order with respect to every input."""

    def check(op: Op, device: str, count: int) -> int:
        ran = 0
        for call in calls(op, device, dtype, count, requires_grad=True):
            process = call.sample.output_process_fn_grad
            wrapped = functools.partial(op.gradcheck_wrapper, op.op)  # makes an input Hermitian
            expected = quietly(lambda c=call, p=process, f=wrapped: p(c.expected(f)))
            if expected is None or quietly(lambda e=expected: _try(call, e, order)) is None:
                continue
            expected = process(call.expected(wrapped))
            ours = functools.partial(counterpart(op.gradcheck_wrapper), call.function)
            actual = counterpart(process)(call.actual(ours))
            _compare_gradients(call, actual, expected, dtype, order)
            ran += 1
        return ran

    return check


def _try(call: Call, expected: Any, order: int) -> Any:
    return _derivatives(torch, _leaves(torch, call.theirs), _flat(expected), order, [])


def _compare_gradients(call: Call, actual: Any, expected: Any, dtype: Any, order: int) -> None:
    if call.draws_apart:
        return
    noise: list[list[Any]] = []
    theirs = _derivatives(torch, _leaves(torch, call.theirs), _flat(expected), order, noise)
    moved = to_multitorch(noise, call.device)
    leaves = _leaves(multitorch, call.ours)
    ours = _derivatives(multitorch, leaves, _flat(actual), order, moved)
    ours += [None] * (len(theirs) - len(ours))
    tolerance = tolerances(call.op, dtype)
    for a, b in zip(ours, theirs, strict=True):
        if a is None or b is None:
            rest = to_torch(a) if b is None else b
            if rest is not None:  # no gradient stands for zeros
                assert_same(rest, torch.zeros_like(rest), **tolerance)
        else:
            assert_same(to_torch(a), b, **tolerance)


def _derivatives(lib: Any, leaves: list, outputs: list, order: int, noise: list) -> list:
    """Return the derivatives of one order, contracted with noise, which PyTorch's side draws."""
    targets, grads = outputs, []
    for level in range(order):
        if len(noise) == level:
            noise.append(
                [torch.randn_like(t).requires_grad_() if _on(t) else None for t in targets]
            )
        weights = [_beside(t, w) for t, w in zip(targets, noise[level], strict=True)]
        pairs = [(t, w) for t, w in zip(targets, weights, strict=True) if w is not None and _on(t)]
        if not pairs:
            return [None] * len(leaves)
        more = level + 1 < order
        chosen, given = zip(*pairs, strict=True)
        grads = list(lib.autograd.grad(chosen, leaves, given, create_graph=more, allow_unused=True))
        if more:
            leaves = leaves + [w for w in weights if w is not None]
            targets = grads
    return grads


def _beside(t: Any, w: Any) -> Any:
    """Return a weight on the device of what it multiplies: `to` may have moved that."""
    if w is None or t is None or w.device == t.device:
        return w
    return w.detach().to(t.device).requires_grad_()


def _on(t: Any) -> bool:
    return getattr(t, "requires_grad", False)


def _leaves(lib: Any, value: Any) -> list:
    if isinstance(value, lib.Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _leaves(lib, v)]
    return []


def _flat(value: Any) -> list:
    return [t for v in value for t in _flat(v)] if isinstance(value, (list, tuple)) else [value]


# --- the table


def _float(op: Op) -> torch.dtype:
    """Return float32 if the op takes it, else another dtype that it takes."""
    dtypes = op.supported_dtypes("cpu")
    for dtype in (torch.float32, torch.int64, torch.bool, torch.complex64):
        if dtype in dtypes:
            return dtype
    return next(iter(dtypes))


def _differentiable(op: Op, dtype: torch.dtype) -> bool:
    return op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")


def _has_dtype(dtype: torch.dtype) -> Callable[[Op], bool]:
    return lambda op: dtype in op.supported_dtypes("cpu")


def _has_gradient(dtype: torch.dtype, order: int) -> Callable[[Op], bool]:
    return lambda op: _differentiable(op, dtype) and (order == 1 or op.supports_gradgrad)


FORWARD = (torch.float32, torch.int64, torch.bool, torch.complex64, torch.bfloat16)
_short = str.removeprefix
CHECKS: dict[str, tuple[Callable[[Op], Any], Callable[[Op, str, int], int]]] = {
    **{f"forward-{_short(str(d), 'torch.')}": (_has_dtype(d), forward(d)) for d in FORWARD},
    "gradient": (_has_gradient(torch.float64, 1), gradient(torch.float64, 1)),
    "gradient-complex": (_has_gradient(torch.complex128, 1), gradient(torch.complex128, 1)),
    "gradient-second": (_has_gradient(torch.float64, 2), gradient(torch.float64, 2)),
    "method": (lambda op: op.get_method() is not None, method),
    "inplace": (lambda op: op.get_inplace() is not None, inplace),
    "out": (lambda op: op.supports_out, out),
    "errors": (lambda op: op.error_inputs_func is not None, errors),
    "dtypes": (lambda op: True, dtypes),
    "forms": (lambda op: True, forms),
    "meta": (lambda op: op.supported_dtypes("cpu"), meta),
}
"""Property: (whether an op has it, the check)."""


def run(property: str, op: Op, device: str, count: int) -> int:
    """Run one check with warnings off; return how many samples it ran."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CHECKS[property][1](op, device, count)
