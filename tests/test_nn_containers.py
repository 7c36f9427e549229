"""Containers and nn.utils: every mutator leaves what PyTorch's leaves."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

import multitorch
from multitorch import nn
from tests.test_nn_hooks import both
from tests.test_nn_module import outcome


@both
def test_sequential(library: Any) -> list:
    nn, log = library.nn, []
    net = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))
    log += [repr(net), net.a, net[0], net[-1], net[:1], len(net), list(net)]
    net[0] = nn.Sigmoid()
    log.append(repr(net))
    del net[0]
    log += [repr(net), list(net._modules)]
    net.append(nn.ReLU()).insert(0, nn.ELU()).extend([nn.GELU()])
    log += [repr(net), net.pop(1), repr(net)]
    net += nn.Sequential(nn.Mish())
    log += [net + nn.Sequential(nn.SiLU()), net * 2, 2 * net]
    net *= 2
    del net[1:3]
    log.append(repr(net))
    wrong = [
        lambda: net[50], lambda: net["a"], lambda: net.insert(99, nn.ReLU()),
        lambda: net.insert(0, 3),
        lambda: net * 0, lambda: net * 1.5, lambda: net + 3, lambda: net.append(3),
        lambda: net.extend(3), lambda: net.pop(99), lambda: net.__setitem__(99, nn.ReLU()),
        lambda: net.__setitem__(0, 3),
    ]  # fmt: skip
    return log + [outcome(call) for call in wrong]


@both
def test_module_list(library: Any) -> list:
    nn, log = library.nn, []
    modules = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    modules.append(nn.ELU()).extend([nn.Mish()])
    modules.insert(0, nn.GELU())
    log += [repr(modules), modules[1], modules[-1], modules[1:3], len(modules)]
    modules[0] = nn.SiLU()
    del modules[1]
    log += [repr(modules), modules.pop(0), modules + [nn.ReLU()], list(modules._modules)]
    log.append(modules[0] in modules)
    del modules[0:2]
    modules += [nn.ReLU(), nn.ReLU()]
    log += [repr(modules), nn.ModuleList(), nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])]
    wrong = [
        lambda: nn.ModuleList(3), lambda: modules[9], lambda: modules.pop(9), lambda: modules(3),
        lambda: modules.append(3), lambda: modules["a"],
    ]  # fmt: skip
    return log + [outcome(call) for call in wrong]


@both
def test_module_dict(library: Any) -> list:
    nn, log = library.nn, []
    modules = nn.ModuleDict([("b", nn.ReLU()), ("a", nn.Tanh())])
    modules["c"] = nn.ELU()
    log += [repr(modules), list(modules), modules.keys(), list(modules.items())]
    log += [list(modules.values()), "a" in modules, len(modules), modules.pop("a"), repr(modules)]
    modules.update({"z": nn.ReLU(), "y": nn.ReLU()})
    modules.update(nn.ModuleDict({"q": nn.ReLU()}))
    del modules["z"]
    log.append(repr(modules))
    modules.clear()
    wrong = [
        lambda: nn.ModuleDict(3), lambda: nn.ModuleDict([3]), lambda: nn.ModuleDict([(3,)]),
        lambda: modules["x"], lambda: modules.pop("x"), lambda: nn.ModuleDict({"keys": nn.ReLU()}),
        lambda: nn.ModuleDict({"training": nn.ReLU()}), lambda: modules.__delitem__("x"),
    ]  # fmt: skip
    return [*log, repr(modules), *[outcome(call) for call in wrong]]


@both
def test_parameter_list(library: Any) -> list:
    nn, ones, log = library.nn, library.ones, []
    values = nn.ParameterList([ones(2), nn.Parameter(ones(2, 3)), "a", library.tensor(1.0)])
    log += [repr(values), len(values), values[0], values[-2], values[1:], list(values.state_dict())]
    values.append(ones(1)).extend([library.zeros(1)])
    values += [ones(1)]
    values[0] = library.zeros(3)
    log += [repr(values), nn.Sequential(nn.ParameterList([ones(2)])), nn.ParameterList()]
    wrong = [
        lambda: nn.ParameterList(3), lambda: values[99], lambda: values(),
        lambda: values.extend(ones(1)),
    ]  # fmt: skip
    return log + [outcome(call) for call in wrong]


@both
def test_parameter_dict(library: Any) -> list:
    nn, ones, log = library.nn, library.ones, []
    values = nn.ParameterDict({"b": ones(2), "a": nn.Parameter(ones(2, 3)), "s": "x"})
    log += [repr(values), list(values), len(values), "a" in values, values["a"].shape]
    log += [list(values.state_dict()), list(reversed(values)), [k for k, _ in values.items()]]
    log += [values.get("zz", 4), values.setdefault("b", 3).shape, values.setdefault("n", ones(1))]
    log += [values.pop("b"), repr(values), values.popitem()[0]]
    values.update({"y": ones(1), "x": ones(1)})
    log += [repr(values), values.copy(), values | nn.ParameterDict({"w": ones(1)})]
    values |= nn.ParameterDict({"w": ones(1)})
    log += [repr(values), nn.ParameterDict().fromkeys(["a", "b"], ones(1)), nn.ParameterDict()]
    del values["w"]
    values.clear()
    wrong = [lambda: nn.ParameterDict({3: 1}), lambda: values["zz"], lambda: values.popitem()]
    return [*log, repr(values), *[outcome(call) for call in wrong]]


def test_sequential_runs_its_modules_in_turn() -> None:
    net = nn.Sequential(nn.Flatten(), nn.ReLU())
    assert net(multitorch.tensor([[[-1.0], [2.0]]])).tolist() == [[0.0, 2.0]]
    assert nn.Sequential()(3) == 3


# --- nn.utils -------------------------------------------------------------------------------------


def with_gradient(device: str = "cpu") -> Any:
    layer = nn.Linear(3, 2).to(device)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    layer(multitorch.ones(4, 3, device=device)).sum().backward()
    return layer  # every gradient is 4


@pytest.mark.parametrize(("kind", "total"), [(2.0, 128**0.5), (1.0, 32.0), (float("inf"), 4.0)])
def test_clip_grad_norm_scales_all_gradients_together(
    kind: float, total: float, device: str
) -> None:
    layer = with_gradient(device)
    norm = nn.utils.clip_grad_norm_(layer.parameters(), 2.0, kind)
    assert abs(norm.item() - total) < 1e-4
    for parameter in layer.parameters():
        assert abs(parameter.grad - 8.0 / total).max().item() < 1e-4
    assert abs(nn.utils.get_total_norm(p.grad for p in layer.parameters()).item()) > 0


def test_clip_grad_norm_leaves_small_gradients_and_reports_infinity() -> None:
    layer = with_gradient()
    nn.utils.clip_grad_norm_(layer.parameters(), 100.0)
    assert layer.bias.grad.tolist() == [4.0, 4.0]
    layer.bias.grad[0] = float("inf")
    with pytest.raises(RuntimeError, match="is non-finite, so it cannot be clipped"):
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0.0


def test_clip_grad_value_limits_each_element(device: str) -> None:
    layer = with_gradient(device)
    layer.bias.grad[0] = -9.0
    nn.utils.clip_grad_value_(layer.parameters(), 3)
    assert layer.bias.grad.tolist() == [-3.0, 3.0]
    assert layer.weight.grad.max().item() == 3.0


def test_parameters_as_one_vector(device: str) -> None:
    layer = with_gradient(device)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (8,) and vector.requires_grad
    nn.utils.vector_to_parameters(multitorch.arange(8.0, device=device), layer.parameters())
    assert layer.weight.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert layer.bias.tolist() == [6.0, 7.0] and layer.bias.is_leaf and layer.bias.requires_grad
    with pytest.raises(TypeError, match="expected torch.Tensor, but got"):
        nn.utils.vector_to_parameters(3, layer.parameters())  # type: ignore[arg-type]
