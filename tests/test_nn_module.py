"""Module: registration, lookup, state, copies, conversion, errors that name the module."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

import multitorch
from multitorch import nn


def make_net(library: Any) -> Any:
    """Return a model that has one of everything, in either library."""
    nn = library.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 3)
            self.bn = nn.BatchNorm1d(3)
            self.blocks = nn.ModuleList(
                [nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(3)]
            )
            self.heads = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2, bias=False)})
            self.scale = nn.Parameter(library.ones(3))
            self.register_buffer("cache", library.zeros(2), persistent=False)
            self.register_parameter("none", None)
            self.shared = self.fc1
            self.extra = nn.ParameterList([library.ones(2), nn.Parameter(library.zeros(1))])
            self.shift = nn.Buffer(library.ones(3))

        def forward(self, x: Any) -> Any:
            x = self.bn(self.fc1(x)) * self.scale + self.shift
            for block in self.blocks:
                x = block(x)
            return self.heads["a"](x) + self.heads["b"](x)

    library.manual_seed(0)
    return Net()


def outcome(function: Callable[[], Any]) -> tuple[str, str]:
    """Return what a call gives or raises, as text."""
    try:
        return "returns", str(function())
    except Exception as error:
        text = str(error).replace("multitorch.", "torch.").replace("torch.nn.modules.", "torch.nn.")
        return type(error).__name__, text


def compare(oracle: Any, scenario: Callable[[Any], list[Any]]) -> None:
    """Run one scenario in both libraries: the logs must be equal."""
    mine, theirs = scenario(multitorch), scenario(oracle)
    assert [str(entry) for entry in mine] == [str(entry) for entry in theirs]


# --- registration ---------------------------------------------------------------------------------


def test_assignment_registers_in_order() -> None:
    net = make_net(multitorch)
    assert list(net._parameters) == ["scale", "none"]
    assert list(net._buffers) == ["cache", "shift"]
    assert list(net._modules) == ["fc1", "bn", "blocks", "heads", "shared", "extra"]
    assert net.fc1 is net._modules["fc1"] and net.scale is net._parameters["scale"]
    assert net.none is None


def test_walks_are_those_of_pytorch(oracle: Any) -> None:
    def scenario(library: Any) -> list[Any]:
        net = make_net(library)
        walks = [
            net.named_parameters(),
            net.named_parameters(remove_duplicate=False),
            net.named_parameters("prefix", recurse=False),
            net.named_buffers(),
            net.named_buffers("prefix", recurse=False),
            net.named_modules(),
            net.named_modules(prefix="prefix", remove_duplicate=False),
            net.named_children(),
        ]
        log: list[Any] = [[name for name, _ in walk] for walk in walks]
        log += [len(list(w)) for w in (net.parameters(), net.buffers(), net.modules())]
        seen: list[str] = []
        net.apply(lambda module: seen.append(type(module).__name__))
        return [*log, seen, net]

    compare(oracle, scenario)


def test_lookups_by_path_are_those_of_pytorch(oracle: Any) -> None:
    def scenario(library: Any) -> list[Any]:
        net = make_net(library)
        relu = library.nn.ReLU()
        log = []
        for path in ("", "blocks.1.0", "blocks.1.0.weight", "fc1", "scale", "bn.running_mean",
                     "shift", "none", "nope", "a.b"):  # fmt: skip
            for find in (net.get_submodule, net.get_parameter, net.get_buffer):
                log.append(outcome(lambda find=find, path=path: find(path)))
        targets = [("blocks.1.0", relu), ("heads.c", relu), ("scale", relu), ("", relu),
                   ("x.y", relu), ("blocks.0", 3)]  # fmt: skip
        for path, module in targets:
            log.append(outcome(lambda path=path, module=module: net.set_submodule(path, module)))
        return [*log, net]

    compare(oracle, scenario)


def test_bad_registrations_raise_pytorchs_error(oracle: Any) -> None:
    def scenario(library: Any) -> list[Any]:
        net, parameter = make_net(library), library.nn.Parameter(library.ones(1))
        calls = []
        for name in ("fc1", "scale", "shift", 3, "a.b", "", "forward", "training"):
            calls += [
                lambda name=name: net.register_parameter(name, None),
                lambda name=name: net.register_buffer(name, None),
                lambda name=name: net.add_module(name, None),
            ]
        for value in (3, library.ones(2), parameter * 2):
            calls += [
                lambda value=value: net.register_parameter("new", value),
                lambda value=value: net.add_module("new", value),
            ]
        calls += [lambda: net.register_buffer("new", 3), lambda: library.nn.Module(1)]
        calls += [lambda: library.nn.Module(a=1), lambda: library.nn.Module()(1)]
        return [*map(outcome, calls), list(net._parameters), list(net._buffers), list(net._modules)]

    compare(oracle, scenario)


def test_assignments_between_kinds_are_those_of_pytorch(oracle: Any) -> None:
    def scenario(library: Any) -> list[Any]:
        nn, net, log = library.nn, make_net(library), []
        values = (3, None, library.ones(1), nn.ReLU(), nn.Parameter(library.ones(2)),
                  nn.Buffer(library.ones(2), persistent=False))  # fmt: skip
        for name in ("scale", "fc1", "shift", "new"):
            for value in values:
                log.append(outcome(lambda name=name, value=value: setattr(net, name, value)))
                log += [list(net._parameters), list(net._buffers), list(net._modules)]
                log.append(list(net.state_dict()))
        for name in ("scale", "fc1", "shift", "new", "nope"):
            log.append(outcome(lambda name=name: delattr(net, name)))
            log.append(outcome(lambda name=name: getattr(net, name)))
        return log

    compare(oracle, scenario)


def test_assignment_before_init_says_so() -> None:
    for value, what in (
        (nn.ReLU(), "module"),
        (nn.Parameter(), "parameters"),
        (nn.Buffer(), "buffer"),
    ):
        module = object.__new__(nn.Module)
        with pytest.raises(AttributeError, match=f"cannot assign {what} before Module.__init__"):
            module.x = value


def test_attributes_follow_every_change_of_a_registry() -> None:
    layer, weight = nn.Linear(2, 2), nn.Parameter(multitorch.zeros(2, 2))
    layer._parameters["weight"] = weight
    assert layer.weight is weight
    assert layer._parameters.pop("weight") is weight and not hasattr(layer, "weight")
    layer._parameters.update(weight=weight, other=weight)
    assert layer.other is weight
    layer._parameters |= {"third": weight}
    assert layer.third is weight and layer._parameters.popitem()[0] == "third"
    assert not hasattr(layer, "third")
    del layer._parameters["other"]
    assert not hasattr(layer, "other")
    assert layer._parameters.setdefault("bias") is layer.bias
    layer._parameters = OrderedDict(weight=weight)
    assert layer.weight is weight and not hasattr(layer, "bias")
    layer._parameters.clear()
    assert not hasattr(layer, "weight") and layer._parameters.pop("weight", 7) == 7
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'weight'"):
        _ = layer.weight


def test_a_plain_dict_as_registry_still_answers() -> None:
    layer = nn.Linear(2, 2)
    layer.__dict__["_parameters"] = {"found": nn.Parameter()}
    assert layer.found is layer._parameters["found"]


def test_dropping_a_model_frees_it_at_once() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    parameter = weakref.ref(net[0].weight)
    gc.disable()
    try:
        del net
        assert parameter() is None
    finally:
        gc.enable()


# --- state dict -----------------------------------------------------------------------------------


def test_state_dict_is_that_of_pytorch(oracle: Any) -> None:
    def scenario(library: Any) -> list[Any]:
        net = make_net(library)
        state = net.state_dict()
        prefixed = net.state_dict(prefix="p.", keep_vars=True)
        return [list(state), dict(state._metadata), list(prefixed), dict(prefixed._metadata),
                [t.requires_grad for t in state.values()],
                [t.requires_grad for t in prefixed.values()]]  # fmt: skip

    compare(oracle, scenario)


def test_load_state_dict_reports_as_pytorch(oracle: Any) -> None:
    def scenario(library: Any) -> list[Any]:
        net, state = make_net(library), make_net(library).state_dict()
        one = library.ones(1)
        wrong = OrderedDict(state)
        wrong.update({"zzz": one, "fc1.bogus": one, "blocks.9.weight": one})
        wrong["bn.weight"] = library.ones(7)
        del wrong["scale"], wrong["heads.a.bias"]
        fixed = OrderedDict(wrong)
        fixed["bn.weight"] = library.ones(3)
        return [
            outcome(lambda: net.load_state_dict(state)),
            outcome(lambda: net.load_state_dict(wrong)),
            outcome(lambda: net.load_state_dict(wrong, strict=False)),
            outcome(lambda: net.load_state_dict(fixed, strict=False)),
            outcome(lambda: net.load_state_dict(3)),
            outcome(lambda: net.load_state_dict({**state, "scale": 3})),
            outcome(lambda: library.nn.Linear(2, 2).load_state_dict({"weight": one})),
        ]

    compare(oracle, scenario)


def test_load_state_dict_text() -> None:
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 2).load_state_dict({"weight": multitorch.ones(3, 2), "extra": 1})
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Linear:\n"
        '\tMissing key(s) in state_dict: "bias". \n'
        '\tUnexpected key(s) in state_dict: "extra". \n'
        "\tsize mismatch for weight: copying a param with shape torch.Size([3, 2]) from "
        "checkpoint, the shape in current model is torch.Size([2, 2])."
    )


def test_loading_copies_or_assigns() -> None:
    layer, weight = nn.Linear(2, 2), multitorch.ones(2, 2, dtype=multitorch.float64)
    held = layer.weight
    layer.load_state_dict({"weight": weight, "bias": multitorch.ones(2)})
    assert layer.weight is held and held.dtype is multitorch.float32 and held.sum().item() == 4
    layer.load_state_dict({"weight": weight, "bias": multitorch.ones(2)}, assign=True)
    assert layer.weight is not held and layer.weight.dtype is multitorch.float64
    assert isinstance(layer.weight, nn.Parameter) and layer.weight.requires_grad


def test_extra_state_travels(oracle: Any) -> None:
    def scenario(library: Any) -> list[Any]:
        class Extra(library.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.value = 1

            def get_extra_state(self) -> Any:
                return {"value": self.value}

            def set_extra_state(self, state: Any) -> None:
                self.value = state["value"]

        source, target = Extra(), library.nn.Sequential(Extra())
        source.value = 9
        state = library.nn.Sequential(source).state_dict()
        result = target.load_state_dict(state)
        missing = outcome(lambda: target.load_state_dict({}))
        unexpected = outcome(lambda: library.nn.ReLU().load_state_dict({"_extra_state": 1}))
        return [dict(state), result, target[0].value, missing, unexpected]

    compare(oracle, scenario)


def test_batch_norm_reads_checkpoints_without_a_count() -> None:
    norm = nn.BatchNorm1d(2)
    state = norm.state_dict()
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        norm.load_state_dict(state)
    state._metadata[""]["version"] = 1
    assert str(norm.load_state_dict(state)) == "<All keys matched successfully>"


# --- copies ---------------------------------------------------------------------------------------


def test_deepcopy_is_independent_and_keeps_sharing() -> None:
    net = make_net(multitorch)
    twin = copy.deepcopy(net)
    assert twin.fc1 is twin.shared and twin.fc1 is not net.fc1
    assert twin.scale is twin._parameters["scale"] and (twin.scale == net.scale).all()
    twin.scale.data.fill_(5.0)
    twin.fc1.weight = nn.Parameter(multitorch.zeros(3, 4))
    assert net.scale.sum().item() == 3.0
    assert twin.shared._parameters["weight"].sum().item() == 0.0
    assert net.fc1.weight.abs().sum().item() > 0


def test_pickle_round_trip() -> None:
    net = nn.Sequential(OrderedDict(fc=nn.Linear(2, 2), bn=nn.BatchNorm1d(2)))
    net.eval()
    twin = pickle.loads(pickle.dumps(net))
    assert repr(twin) == repr(net) and not twin.bn.training
    assert (twin.fc.weight == net.fc.weight).all() and twin.fc.weight.requires_grad
    twin.fc.weight = nn.Parameter(multitorch.ones(1))
    assert twin.fc._parameters["weight"] is twin.fc.weight


def test_parameter_copies_and_prints() -> None:
    parameter = nn.Parameter(multitorch.ones(2))
    parameter.tag = 3
    parameter.grad = multitorch.ones(2)
    assert repr(parameter) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    for twin in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert type(twin) is nn.Parameter and twin.requires_grad and twin.grad is None
    assert pickle.loads(pickle.dumps(parameter)).tag == 3
    assert type(parameter * 2) is multitorch.Tensor
    with pytest.raises(RuntimeError, match="Only Tensors of floating point and complex dtype"):
        nn.Parameter(multitorch.ones(2, dtype=multitorch.int64))
    buffer = copy.deepcopy(nn.Buffer(multitorch.ones(2), persistent=False))
    assert isinstance(buffer, nn.Buffer) and not buffer.persistent


# --- conversion and modes -------------------------------------------------------------------------


def test_to_converts_in_place_and_keeps_the_parameters(device: str) -> None:
    net = make_net(multitorch)
    held = list(net.parameters())
    net(multitorch.randn(5, 4)).sum().backward()
    assert net.to(device, multitorch.float64) is net
    assert all(a is b for a, b in zip(held, net.parameters(), strict=True))
    assert {p.device.type for p in net.state_dict().values()} == {multitorch.device(device).type}
    assert {p.dtype for p in net.parameters()} == {multitorch.float64}
    assert net.bn.num_batches_tracked.dtype is multitorch.int64
    assert net.fc1.weight.grad.dtype is multitorch.float64
    x = multitorch.randn(5, 4, device=device, dtype=multitorch.float64)
    assert net(x).dtype is multitorch.float64
    net.to(multitorch.ones(1)).to(dtype=multitorch.bfloat16, device="cpu")
    assert net.scale.dtype is multitorch.bfloat16 and net.scale.device.type == "cpu"


def test_casts_have_methods() -> None:
    layer = nn.Linear(2, 2)
    for name, dtype in (("double", "float64"), ("half", "float16"), ("bfloat16", "bfloat16"),
                        ("float", "float32")):  # fmt: skip
        assert getattr(layer, name)().weight.dtype is getattr(multitorch, dtype)
    assert layer.type(multitorch.float64).bias.dtype is multitorch.float64
    assert layer.share_memory() is layer and layer.cpu() is layer
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes, but got"):
        layer.to(multitorch.int32)
    with pytest.raises(TypeError):
        layer.to("cpu", "cpu")


def test_meta_modules_materialize() -> None:
    layer = nn.BatchNorm1d(2, device="meta")
    assert layer.weight.device.type == "meta" and layer.running_mean.device.type == "meta"
    layer.to_empty(device="cpu")
    layer.reset_parameters()
    assert layer.weight.tolist() == [1.0, 1.0] and isinstance(layer.weight, nn.Parameter)
    assert nn.utils.skip_init(nn.Linear, 2, 3).weight.device.type == "cpu"


def test_modes_and_gradients_are_set_for_the_whole_tree() -> None:
    net = make_net(multitorch)
    net(multitorch.ones(2, 4)).sum().backward()
    net.eval()
    assert {m.training for m in net.modules()} == {False}
    net.train()
    assert {m.training for m in net.modules()} == {True}
    with pytest.raises(ValueError, match="training mode is expected to be boolean"):
        net.train(3)
    net.zero_grad(set_to_none=False)
    assert net.fc1.weight.grad.abs().sum().item() == 0
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_call_super_init_passes_arguments_on() -> None:
    class Other:
        def __init__(self, a: int = 1) -> None:
            self.a = a

    class Both(nn.Module, Other):
        call_super_init = True

    assert Both(a=3).a == 3


def test_dir_leaves_out_numbers() -> None:
    names = dir(nn.Sequential(nn.ReLU()))
    assert "0" not in names and "training" in names and "forward" in names


def test_compile_goes_through_multitorch_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multitorch, "compile", lambda f, **kw: lambda *a: ("compiled", f(*a), kw))
    layer = nn.Identity()
    layer.compile(fullgraph=True)
    assert layer(3) == ("compiled", 3, {"fullgraph": True})


# --- errors that name the module ------------------------------------------------------------------


def failing() -> Any:
    blocks = [nn.Sequential(OrderedDict(fc1=nn.Linear(4, 4))) for _ in range(3)]
    return nn.Sequential(OrderedDict(layers=nn.Sequential(*blocks, nn.Linear(3, 4))))


def test_a_shape_error_names_the_module_once() -> None:
    with pytest.raises(RuntimeError) as caught:
        failing()(multitorch.ones(2, 4))
    text = str(caught.value)
    assert "mat1 and mat2 shapes cannot be multiplied" in text
    assert text.count("in module") == 1 and "in module layers.3 (Linear)" in text
    (note,) = caught.value.__notes__
    assert "in_features=3" in note and "float32[2, 4]" in note


def test_other_errors_get_a_note() -> None:
    class Bad(nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("bad value")

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = [Bad()]  # not registered

        def forward(self, x: Any) -> Any:
            return self.kept[0](x)

    with pytest.raises(ValueError, match="^bad value$") as caught:
        nn.ModuleDict({"a": Bad()})["a"](1)
    assert not hasattr(caught.value, "__notes__")  # the outermost module has no path
    with pytest.raises(ValueError, match="^bad value") as caught:
        nn.Sequential(nn.Sequential(nn.ReLU(), Bad()))(multitorch.ones(1))
    assert str(caught.value) == "bad value"
    assert caught.value.__notes__[0].startswith("in module 0.1 (Bad)")
    with pytest.raises(ValueError) as caught:
        nn.Sequential(nn.Sequential(Hidden()))(1)
    assert caught.value.__notes__[0].startswith("in module 0.0 (Hidden)")


def test_an_error_that_is_caught_inside_leaves_no_trace() -> None:
    class Robust(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            try:
                return self.fc(x)
            except RuntimeError:
                return x

    x = multitorch.ones(2, 2)
    assert nn.Sequential(Robust())(x) is x
