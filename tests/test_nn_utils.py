"""Parametrizations, lazy layers, fusion, calls with other parameters, averages of weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import multitorch
from multitorch import nn
from multitorch.nn.utils import parametrizations, parametrize
from multitorch.nn.utils.stateless import functional_call

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Lazy modules")

LAYERS = {
    "linear": (lambda nn: nn.Linear(3, 5), (4, 3)),
    "wide": (lambda nn: nn.Linear(3, 2), (4, 3)),
    "square": (lambda nn: nn.Linear(3, 3), (4, 3)),
    "conv": (lambda nn: nn.Conv2d(3, 4, 3), (2, 3, 5, 5)),
    "transposed": (lambda nn: nn.ConvTranspose2d(3, 4, 3), (2, 3, 5, 5)),
}
NORMS = {
    "weight_norm": lambda u, m: u.parametrizations.weight_norm(m),
    "weight_norm-all": lambda u, m: u.parametrizations.weight_norm(m, dim=None),
    "spectral_norm": lambda u, m: u.parametrizations.spectral_norm(m, n_power_iterations=2),
    "old weight_norm": lambda u, m: u.weight_norm(m),
    "old spectral_norm": lambda u, m: u.spectral_norm(m),
}
ORTHOGONAL = {
    f"{name}{'' if relative else '-plain'}": lambda u, m, k=name, t=relative: (
        u.parametrizations.orthogonal(m, orthogonal_map=k, use_trivialization=t)
    )
    for name in ("matrix_exp", "cayley", "householder")
    for relative in (True, False)
}
CASES = [(n, NORMS[n], k) for n in NORMS for k in ("linear", "conv", "transposed")]
CASES += [(n, ORTHOGONAL[n], k) for n in ORTHOGONAL for k in ("linear", "wide", "square")]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def train(lib: Any, make: Any, kind: str) -> list:
    """Return what can be seen of a parametrized layer, before and after steps of training."""
    build, shape = LAYERS[kind]
    lib.manual_seed(0)
    layer = build(lib.nn)
    layer = make(lib.nn.utils, layer) or layer
    x = lib.tensor(draw(*shape))
    optimizer = lib.optim.SGD(layer.parameters(), lr=0.05)
    seen: list = [repr(layer), list(layer.state_dict()), [n for n, _ in layer.named_parameters()]]
    for _ in range(2):
        optimizer.zero_grad()
        y = layer(x)
        (y * y).mean().backward()
        optimizer.step()
        seen.append(y.detach().numpy())
    layer.eval()
    return [*seen, layer(x).detach().numpy(), layer.weight.detach().numpy()]


@pytest.mark.parametrize(
    ("name", "make", "kind"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_parametrizations_train_as_in_pytorch(name, make, kind, oracle):
    for mine, theirs in zip(train(multitorch, make, kind), train(oracle, make, kind), strict=True):
        if isinstance(theirs, np.ndarray):
            np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=1e-4)
        else:
            assert mine == theirs


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, x):
        return x.triu()


class Double(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


def test_registering_assigning_and_removing():
    layer = nn.Linear(3, 3)
    weight = layer.weight
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "weight", Double())
    assert parametrize.is_parametrized(layer, "weight")
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert layer.parametrizations.weight.original is weight
    new = multitorch.eye(3) * 4
    layer.weight = new
    assert multitorch.equal(layer.weight, new)
    twin = copy.deepcopy(layer)
    layer.weight = new * 2
    assert multitorch.equal(twin.weight, new)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and isinstance(layer.weight, nn.Parameter)
    assert multitorch.equal(layer.weight, new * 2)
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        import pickle

        pickle.dumps(twin)


def test_cached_computes_once():
    class Counted(nn.Module):
        count = 0

        def forward(self, x):
            Counted.count += 1
            return x

    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Counted())
    before = Counted.count
    with parametrize.cached():
        for _ in range(3):
            layer(multitorch.ones(1, 2))
    assert Counted.count == before + 1


def test_parametrization_errors():
    layer = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(layer, "weigth", Symmetric())
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))
    with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
        parametrizations.orthogonal(nn.Linear(2, 3), orthogonal_map="other")


# --- lazy layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        ("LazyLinear", (3,), (2, 5)),
        ("LazyConv1d", (4, 3), (5, 6)),
        ("LazyConv2d", (4, 3), (2, 5, 6, 6)),
        ("LazyConvTranspose2d", (4, 3), (2, 5, 6, 6)),
        ("LazyBatchNorm1d", (), (4, 3)),
        ("LazyInstanceNorm2d", (), (2, 3, 4, 4)),
    ],
)
def test_lazy_layers_become_plain_ones(name, args, shape):
    cls = getattr(nn, name)
    layer, twin = cls(*args), copy.deepcopy(cls(*args))
    assert layer.has_uninitialized_params()
    with pytest.raises(RuntimeError, match="uninitialized parameter"):
        _ = layer.weight.shape
    x = multitorch.tensor(draw(*shape))
    multitorch.manual_seed(0)
    out = layer(x)
    assert type(layer).__name__ == name.removeprefix("Lazy")
    multitorch.manual_seed(0)
    assert multitorch.equal(twin(x), out)
    loaded = cls(*args)
    loaded.load_state_dict(twin.state_dict())
    assert multitorch.equal(loaded(x), layer(x)) or "Batch" in name
    assert repr(loaded) == repr(layer)


# --- the rest ------------------------------------------------------------------------------------


def test_fusion_of_batch_norm():
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    x = multitorch.tensor(draw(2, 3, 5, 5))
    norm(conv(x))
    both = nn.Sequential(conv, norm).eval()
    fused = nn.utils.fuse_conv_bn_eval(conv, norm)
    assert multitorch.allclose(fused(x), both(x), atol=1e-5)


def test_functional_call_replaces_and_restores():
    layer = nn.Linear(2, 1)
    weight = multitorch.ones(1, 2).requires_grad_()
    out = functional_call(layer, {"weight": weight}, multitorch.ones(1, 2))
    out.sum().backward()
    assert weight.grad is not None and layer.weight.grad is None
    assert isinstance(layer.weight, nn.Parameter)
    with pytest.raises(KeyError):
        functional_call(layer, {"other": weight}, multitorch.ones(1, 2))


def test_adaptive_log_softmax(oracle):
    seen = []
    for lib in (multitorch, oracle):
        lib.manual_seed(0)
        layer = lib.nn.AdaptiveLogSoftmaxWithLoss(16, 40, [5, 20], div_value=2.0, head_bias=True)
        x = lib.tensor(draw(6, 16)).requires_grad_()
        out = layer(x, lib.tensor([1, 6, 39, 3, 21, 19]))
        out.loss.backward()
        found = (out.output, out.loss, x.grad, layer.log_prob(x), layer.predict(x))
        seen.append([repr(layer), *(t.detach().numpy() for t in found)])
    assert seen[0][0] == seen[1][0]
    for mine, theirs in zip(seen[0][1:], seen[1][1:], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["swa", "ema", "ema-buffers"])
def test_averaged_models(kind, oracle):
    seen = []
    for lib in (multitorch, oracle):
        lib.manual_seed(0)
        tools = lib.optim.swa_utils
        model = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4))
        options: dict = {"multi_avg_fn": tools.get_ema_multi_avg_fn(0.9)}
        if kind == "ema-buffers":
            options = {"avg_fn": tools.get_ema_avg_fn(0.8), "use_buffers": True}
        averaged = tools.AveragedModel(model, **({} if kind == "swa" else options))
        optimizer = lib.optim.SGD(model.parameters(), lr=0.1)
        scheduler = tools.SWALR(optimizer, 0.02, anneal_epochs=3)
        x, rates = lib.tensor(draw(6, 3)), []
        for _ in range(5):
            optimizer.zero_grad()
            (model(x) ** 2).sum().backward()
            optimizer.step()
            averaged.update_parameters(model)
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
        tools.update_bn([x, x * 2], averaged)
        state = averaged.state_dict()
        seen.append([list(state), np.array(rates), *(v.numpy() for v in state.values())])
    assert seen[0][0] == seen[1][0]
    for mine, theirs in zip(seen[0][1:], seen[1][1:], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
