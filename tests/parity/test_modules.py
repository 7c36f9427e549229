"""Every layer of PyTorch's module database that multitorch has too, property by property."""

from __future__ import annotations

import re
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.testing._internal.common_modules import ModuleErrorEnum, module_db  # noqa: E402

import multitorch  # noqa: E402
from tests import conftest  # noqa: E402
from tests.parity.adapter import assert_same, to_multitorch, to_torch  # noqa: E402

SAMPLES = {"cpu": 6}
"""Samples per module unless --samples is given; one on the devices that compile every shape."""
GAPS: dict[str, str] = {}
"""What is known to differ from PyTorch: `property module device` -> reason."""
RANDOM = ("nn.FractionalMaxPool2d", "nn.FractionalMaxPool3d")
"""Modules that draw random numbers when they run: on the cpu the same as PyTorch."""


class Sample:
    """One module and its inputs on both sides, with PyTorch's weights in both."""

    def __init__(self, info: Any, given: Any, device: str, dtype: Any, training: bool) -> None:
        built, forward = given.constructor_input, given.forward_input
        args, kwargs = tuple(built.args), dict(built.kwargs)
        torch.manual_seed(3)
        self.theirs = info.module_cls(*args, **kwargs).to(dtype).train(training)
        multitorch.manual_seed(3)
        cls = getattr(multitorch.nn, info.module_cls.__name__)
        ours = cls(*[_argument(a) for a in args], **{k: _argument(a) for k, a in kwargs.items()})
        ours = ours.to(to_multitorch(dtype, device))
        self.drawn = ours.state_dict()
        self.ours = ours.to(device).train(training)
        self.their_input = _as_leaves((tuple(forward.args), dict(forward.kwargs)))
        self.our_input = to_multitorch(self.their_input, device)
        self.reference = given.reference_fn

    def take_weights(self, device: str) -> None:
        """Load PyTorch's weights, checking that the names are the same."""
        state = {k: to_multitorch(v, device) for k, v in self.theirs.state_dict().items()}
        self.ours.load_state_dict(state)

    def run(self) -> tuple[Any, Any]:
        """Return PyTorch's output and ours."""
        torch.manual_seed(5)
        args, kwargs = self.their_input
        expected = self.theirs(*args, **kwargs)
        multitorch.manual_seed(5)
        args, kwargs = self.our_input
        return expected, self.ours(*args, **kwargs)


def _as_leaves(value: Any) -> Any:
    """Return the same values in tensors that were not computed from others."""
    if isinstance(value, dict):
        return {k: _as_leaves(v) for k, v in value.items()}
    if isinstance(value, torch.Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value)([_as_leaves(v) for v in value])
    return value


def _argument(value: Any) -> Any:
    """Return a constructor's argument with what is PyTorch's replaced."""
    if isinstance(value, torch.nn.TransformerEncoderLayer):
        first, ours = value.self_attn, multitorch.nn.TransformerEncoderLayer
        layer = ours(
            first.embed_dim, first.num_heads, value.linear1.out_features, value.dropout.p,
            _argument(value.activation), value.norm1.eps, first.batch_first,
            value.norm_first, value.linear1.bias is not None,
        )  # fmt: skip
        layer.load_state_dict({k: to_multitorch(v, "cpu") for k, v in value.state_dict().items()})
        return layer
    if isinstance(value, types.BuiltinFunctionType):
        return getattr(multitorch.nn.functional, value.__name__)
    return to_multitorch(value, "cpu")


def samples(info: Any, device: str, dtype: Any, count: int, grads: bool) -> Iterator[Sample]:
    """Yield `count` samples, spread evenly, in training and (if more than one) in evaluation.

    All if it is 0."""
    for training in (True,) if count == 1 else (True, False):
        torch.manual_seed(0)
        given = info.module_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=grads, training=training
        )
        given = [g for g in given if g.forward_input is not None]
        chosen = given
        if count and len(given) > count:
            step = (len(given) - 1) / max(count - 1, 1)
            chosen = [given[round(i * step)] for i in range(count)]
        for each in chosen:
            yield Sample(info, each, device, dtype, training)


# --- properties ----------------------------------------------------------------------------------


def settings(info: Any, device: str, count: int) -> int:
    """The text, the names and dtypes of the state and, on the cpu, the initial weights."""
    ran = 0
    for sample in samples(info, device, torch.float32, count, False):
        if not info.is_lazy:
            assert repr(sample.ours) == repr(sample.theirs)
        mine, theirs = sample.drawn, sample.theirs.state_dict()
        assert list(mine) == list(theirs)
        for name in theirs if not info.is_lazy else ():
            # the normal distribution is the same to a few units in the last place
            assert_same(to_torch(mine[name]), theirs[name], rtol=1e-5, atol=1e-6)
        ran += 1
    return ran


def forward(info: Any, device: str, count: int) -> int:
    """Outputs in float32, with PyTorch's weights; buffers after the call."""
    ran = 0
    for sample in samples(info, device, torch.float32, count, False):
        if not info.is_lazy:
            sample.take_weights(device)
        if info.name in RANDOM and device != "cpu":
            continue
        expected, actual = sample.run()
        if info.is_lazy:
            sample.take_weights(device)
            expected, actual = sample.run()
        assert_same(to_torch(actual), expected, rtol=2e-5, atol=1e-5)
        for name, buffer in sample.theirs.named_buffers():
            assert_same(to_torch(sample.ours.get_buffer(name)), buffer, rtol=1e-4, atol=1e-5)
        ran += 1
    return ran


def gradient(info: Any, device: str, count: int) -> int:
    """Gradients by the inputs and the parameters in float64."""
    ran = 0
    for sample in samples(info, device, torch.float64, count, True):
        if info.is_lazy:
            sample.run()
        sample.take_weights(device)
        expected, actual = (_flat(value) for value in sample.run())
        noise = [torch.randn_like(t) if t.requires_grad else None for t in expected]
        if all(n is None for n in noise):
            continue
        _backward(expected, noise)
        _backward(actual, [None if n is None else to_multitorch(n, device) for n in noise])
        pairs = [*zip(_leaves(sample.our_input), _leaves(sample.their_input), strict=True)]
        pairs += zip(sample.ours.parameters(), sample.theirs.parameters(), strict=True)
        for mine, theirs in pairs:
            a, b = to_torch(mine.grad), theirs.grad
            if a is None or b is None:
                rest = a if b is None else b
                assert rest is None or not rest.any(), "one gradient is None, the other not zero"
            else:
                assert_same(a, b, rtol=1e-6, atol=1e-8)
        ran += 1
    return ran


def errors(info: Any, device: str, count: int) -> int:
    """The types of the errors that bad arguments raise."""
    ran = 0
    given = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    )
    for bad in given:
        built, fed = bad.module_error_input.constructor_input, bad.module_error_input.forward_input
        cls = getattr(multitorch.nn, info.module_cls.__name__)
        args, kwargs = to_multitorch((tuple(built.args), dict(built.kwargs)), "cpu")
        if bad.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(bad.error_type):
                cls(*args, **kwargs)
        else:
            module = cls(*args, **kwargs).to(device)
            args, kwargs = to_multitorch((tuple(fed.args), dict(fed.kwargs)), device)
            with pytest.raises(bad.error_type) as caught:
                module(*args, **kwargs)
            assert re.search(bad.error_regex, str(caught.value)), str(caught.value)
        ran += 1
    return ran


def _flat(value: Any) -> list:
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _flat(v)]
    return [] if value is None else [value]


def _leaves(value: Any) -> list:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _leaves(v)]
    return [value] if getattr(value, "requires_grad", False) else []


def _backward(outputs: list, noise: list) -> None:
    total = None
    for t, n in zip(outputs, noise, strict=True):
        if n is not None:
            total = (t * n).sum() if total is None else total + (t * n).sum()
    total.backward()  # type: ignore[union-attr]


CHECKS: dict[str, Callable[[Any, str, int], int]] = {
    "settings": settings,
    "forward": forward,
    "gradient": gradient,
    "errors": errors,
}
ELSEWHERE = ("forward",)
"""What runs on other devices than the cpu unless --samples is given: the rest is common code."""


def applies(name: str, info: Any) -> bool:
    """Whether a module is there and has a property."""
    if not hasattr(multitorch.nn, info.module_cls.__name__):
        return False
    return name != "errors" or info.module_error_inputs_func is not None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    every = metafunc.config.getoption("--samples", default=None) is not None
    devices = conftest.tested_devices(metafunc.config)
    metafunc.parametrize(
        ("property", "info", "place"),
        [
            pytest.param(name, info, device, id=f"{name}-{info.name}-{device}", marks=marks(name, info, device))
            for device in devices
            for name in CHECKS
            if every or device == "cpu" or name in ELSEWHERE
            for info in module_db
            if applies(name, info)
        ],
    )  # fmt: skip


def marks(name: str, info: Any, device: str) -> list:
    for line, reason in GAPS.items():
        if line.split() in ([name, info.name, device], [name, info.name, "*"]):
            return [pytest.mark.xfail(reason=reason, strict=True)]
    return []


def test_agrees_with_pytorch(property, info, place, request):
    torch.set_num_threads(1)
    count = request.config.getoption("--samples", default=None)
    count = SAMPLES.get(place, 1) if count is None else count
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not CHECKS[property](info, place, count):
            pytest.skip("no sample")
