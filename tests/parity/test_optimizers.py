"""Every optimizer of PyTorch's database that multitorch has too, property by property."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.testing._internal.common_optimizers import optim_db  # noqa: E402

import multitorch  # noqa: E402
from tests import conftest  # noqa: E402
from tests.parity.adapter import assert_same, to_multitorch, to_torch  # noqa: E402

STEPS = 6
FEW = {"LBFGS": 1}
"""What repeats a step many times by itself: rounding adds up."""
GAPS: dict[str, str] = {}
"""What is known to differ from PyTorch: `property optimizer device` -> reason."""
SHAPES = ((4, 3), (2, 5))
NUMBERS = ("H_diag", "t")
"""States that are sometimes tensors and sometimes numbers."""
WIDER = {"LBFGS": 10.0}
"""Factors of the tolerance: hundreds of products of vectors in single precision."""


class Run:
    """One optimizer of a library on parameters that are the same in both."""

    def __init__(self, library: Any, name: str, device: str, dtype: str, kwargs: dict) -> None:
        self.library, self.name, self.device = library, name, device
        self.given = [self.tensor(torch.randn(s, dtype=getattr(torch, dtype))) for s in SHAPES]
        self.params = [t.requires_grad_() for t in self.given]
        self.optimizer = getattr(library.optim, name)(self.params, **self._kwargs(kwargs))

    def _kwargs(self, kwargs: dict) -> dict:
        return kwargs if self.library is torch else to_multitorch(kwargs, self.device)

    def tensor(self, t: Any) -> Any:
        return t if self.library is torch else to_multitorch(t, self.device)

    def step(self, seed: int) -> None:
        """Take a step: the loss pulls towards random targets."""
        torch.manual_seed(seed)
        targets = [self.tensor(torch.randn_like(torch.empty(s))) for s in SHAPES]

        def closure() -> Any:
            self.optimizer.zero_grad()
            loss: Any = 0
            for p, target in zip(self.params, targets, strict=True):
                far = (p - target).abs()
                loss = loss + (far * far + 0.1 * far**4).sum()
            loss.backward()
            return loss

        closure()
        if self.name == "LBFGS":
            self.optimizer.step(closure)
        else:
            self.optimizer.step()

    def values(self) -> list:
        """Return the parameters and all states."""
        found = [p.detach() for p in self.params]
        for p in self.params:
            for key, value in sorted(self.optimizer.state[p].items()):
                if hasattr(value, "shape") and key not in NUMBERS:
                    found.append(value.detach())
        return found


def settings(info: Any, device: str) -> Iterator[dict]:
    """Yield the keyword arguments of the database's samples, with every flag that changes sums."""
    for given in info.optim_inputs_func(device="cpu"):
        kwargs = dict(given.kwargs)
        if kwargs.pop("differentiable", False) or isinstance(given.params, list):
            continue
        kwargs.pop("fused", None)
        if kwargs.get("foreach") and isinstance(kwargs.get("lr"), torch.Tensor):
            kwargs.pop("foreach")
        yield kwargs


def pair(info: Any, device: str, dtype: str, kwargs: dict) -> tuple[Run, Run]:
    """Return PyTorch's run and ours, from the same parameters."""
    runs = []
    for library in (torch, multitorch):
        torch.manual_seed(0)
        runs.append(Run(library, info.optim_cls.__name__, device, dtype, dict(kwargs)))
    return runs[0], runs[1]


# --- properties ----------------------------------------------------------------------------------


def _same_path(info: Any, device: str, dtype: str, **tolerance: float) -> int:
    ran, factor = 0, WIDER.get(info.optim_cls.__name__, 1.0)
    tolerance = {name: value * factor for name, value in tolerance.items()}
    for kwargs in itertools.islice(settings(info, device), None if device == "cpu" else 1):
        theirs, ours = pair(info, device, dtype, kwargs)
        for seed in range(FEW.get(info.optim_cls.__name__, STEPS)):
            theirs.step(seed)
            ours.step(seed)
        expected, actual = theirs.values(), ours.values()
        assert len(actual) == len(expected), kwargs
        for a, e in zip(actual, expected, strict=True):
            try:
                assert_same(to_torch(a), e, **tolerance)
            except AssertionError as error:
                raise AssertionError(f"{kwargs}: {error}") from None
        ran += 1
    return ran


def single(info: Any, device: str) -> int:
    """Parameters and states after some steps in float32."""
    return _same_path(info, device, "float32", rtol=1e-4, atol=2e-5)


def double(info: Any, device: str) -> int:
    """Parameters and states after some steps in float64."""
    return _same_path(info, device, "float64", rtol=1e-5, atol=1e-6)


def complex_(info: Any, device: str) -> int:
    """Parameters and states after some steps in complex64."""
    return _same_path(info, device, "complex64", rtol=1e-4, atol=2e-5)


def text(info: Any, device: str) -> int:
    """The text: names and values of all hyperparameters."""
    ran = 0
    for kwargs in settings(info, device):
        theirs, ours = pair(info, device, "float32", kwargs)
        assert repr(ours.optimizer) == repr(theirs.optimizer)
        ran += 1
    return ran


def loading(info: Any, device: str) -> int:
    """PyTorch's state, loaded, continues as it does there."""
    kwargs = {"lr": 1e-2}
    theirs, ours = pair(info, device, "float32", kwargs)
    for seed in range(3):
        theirs.step(seed)
    state = to_multitorch(theirs.optimizer.state_dict(), device)
    ours.optimizer.load_state_dict(state)
    with multitorch.no_grad():
        for mine, p in zip(ours.params, theirs.params, strict=True):
            mine.copy_(to_multitorch(p.detach(), device))
    theirs.step(3)
    ours.step(3)
    for a, e in zip(ours.values(), theirs.values(), strict=True):
        assert_same(to_torch(a), e, rtol=1e-4, atol=2e-5)
    again = pair(info, device, "float32", kwargs)[1]
    again.optimizer.load_state_dict(ours.optimizer.state_dict())
    return 1


def errors(info: Any, device: str) -> int:
    """The errors and warnings that bad arguments raise."""
    ran = 0
    for bad in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        given = bad.optimizer_error_input
        if "sparse" in given.desc:
            continue
        params = given.params
        if params is None:
            params = [torch.nn.Parameter(torch.ones(2, 2))]
        cls = getattr(multitorch.optim, info.optim_cls.__name__)
        ours, kwargs = _leaves(params), to_multitorch(dict(given.kwargs), device)
        if issubclass(bad.error_type, Warning):
            with pytest.warns(bad.error_type, match=bad.error_regex):
                cls(ours, **kwargs)
        else:
            with pytest.raises(bad.error_type) as caught:
                optimizer = cls(ours, **kwargs)
                for p in ours:
                    p.grad = multitorch.ones_like(p)
                optimizer.step()
            assert re.search(bad.error_regex, str(caught.value)), str(caught.value)
        ran += 1
    return ran


def _leaves(value: Any, seen: dict | None = None) -> Any:
    """Return parameters for parameters: the same one for the same one."""
    seen = {} if seen is None else seen
    if isinstance(value, torch.Tensor):
        if id(value) not in seen:
            seen[id(value)] = multitorch.nn.Parameter(to_multitorch(value.detach(), "cpu"))
        return seen[id(value)]
    if isinstance(value, dict):
        return {k: _leaves(v, seen) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_leaves(v, seen) for v in value])
    return value


CHECKS: dict[str, Callable[[Any, str], int]] = {
    "float32": single,
    "float64": double,
    "complex64": complex_,
    "text": text,
    "loading": loading,
    "errors": errors,
}
ELSEWHERE = ("float32",)
"""What runs on other devices than the cpu: the rest is common code."""
REAL_ONLY = ("Adafactor", "Muon")


def applies(name: str, info: Any) -> bool:
    """Whether an optimizer is there and has a property."""
    cls = info.optim_cls.__name__
    return hasattr(multitorch.optim, cls) and not (name == "complex64" and cls in REAL_ONLY)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    devices = conftest.tested_devices(metafunc.config)
    metafunc.parametrize(
        ("property", "info", "place"),
        [
            pytest.param(name, info, device, id=f"{name}-{info.name}-{device}", marks=marks(name, info, device))
            for device in devices
            for name in CHECKS
            if device == "cpu" or name in ELSEWHERE
            for info in optim_db
            if applies(name, info)
        ],
    )  # fmt: skip


def marks(name: str, info: Any, device: str) -> list:
    cls = info.name
    for line, reason in GAPS.items():
        if line.split() in ([name, cls, device], [name, cls, "*"]):
            return [pytest.mark.xfail(reason=reason, strict=True)]
    return []


def test_agrees_with_pytorch(property, info, place):
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not CHECKS[property](info, place):
            pytest.skip("no sample")
