"""Hooks of modules: the order in which they run, what they see, what they replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import multitorch
from multitorch import nn
from tests.test_nn_module import compare, outcome


def plain(grads: Any) -> list:
    return [None if g is None else g.tolist() for g in grads]


def scaled(library: Any, events: list) -> Any:
    """Return a module that logs its calls and multiplies by k; k = 99 raises."""

    class Scaled(library.nn.Module):
        def forward(self, x: Any, k: int = 1) -> Any:
            events.append(("forward", x.tolist(), k))
            if k == 99:
                raise RuntimeError("boom")
            return x * k

    return Scaled()


def both(scenario: Callable[[Any], list]) -> Callable[[Any], None]:
    """Make a test of a scenario: its log must be the same in both libraries."""

    def test(oracle: Any) -> None:
        compare(oracle, scenario)

    test.__name__ = test.__qualname__ = scenario.__name__
    return test


@both
def test_forward_hooks_run_in_pytorchs_order(library: Any) -> list:
    events: list = []
    module, x = scaled(library, events), library.ones(2)
    handles = [
        module.register_forward_pre_hook(lambda m, args: events.append("first")),
        module.register_forward_pre_hook(lambda m, args: (args[0] * 2,), prepend=True),
        module.register_forward_pre_hook(
            lambda m, args, kwargs: (args, {**kwargs, "k": 5}), with_kwargs=True
        ),
        module.register_forward_hook(lambda m, args, out: events.append(("post", out.tolist()))),
        module.register_forward_hook(
            lambda m, args, kwargs, out: out + kwargs["k"], with_kwargs=True, prepend=True
        ),
    ]
    results = [module(x).tolist(), module(x, k=3).tolist()]
    for handle in handles:
        handle.remove()
        results.append(module(x, k=2).tolist() if handle is handles[-1] else None)
    return [events, results]


@both
def test_hooks_may_fail_or_always_run(library: Any) -> list:
    events: list = []
    module, x = scaled(library, events), library.ones(2)
    module.register_forward_hook(lambda m, args, out: events.append("skipped"))
    module.register_forward_hook(
        lambda m, args, out: events.append(("always", out is None)), always_call=True
    )
    log = [outcome(lambda: module(x, k=99)), outcome(lambda: module(x, k=2))]
    module.register_forward_pre_hook(lambda m, args: args[0] * 3)
    log.append(outcome(lambda: module(x)))
    module.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    log.append(outcome(lambda: module(x)))
    return [events, *log]


def test_a_failing_always_hook_only_warns() -> None:
    module = scaled(multitorch, [])
    module.register_forward_hook(lambda m, args, out: 1 / 0, always_call=True)
    with pytest.warns(UserWarning, match="silenced"), pytest.raises(RuntimeError, match="boom"):
        module(multitorch.ones(1), k=99)


@both
def test_global_hooks_run_for_every_module(library: Any) -> list:
    events: list = []
    hooks, module, x = library.nn.modules.module, scaled(library, events), library.ones(2)
    handles = [
        hooks.register_module_forward_pre_hook(lambda m, args: events.append("pre")),
        hooks.register_module_forward_hook(lambda m, args, out: out + 1),
        module.register_forward_hook(lambda m, args, out: events.append(out.tolist())),
    ]
    results = [module(x).tolist()]
    for handle in handles:
        handle.remove()
    results.append(module(x).tolist())
    return [events, results]


@both
def test_registration_hooks_see_what_is_registered(library: Any) -> list:
    events: list = []
    hooks = library.nn.modules.module
    handles = [
        hooks.register_module_parameter_registration_hook(lambda m, n, p: events.append(("p", n))),
        hooks.register_module_module_registration_hook(lambda m, n, p: events.append(("m", n))),
        hooks.register_module_buffer_registration_hook(lambda m, n, p: events.append(("b", n))),
    ]
    library.nn.Sequential(library.nn.BatchNorm1d(1))
    for handle in handles:
        handle.remove()
    library.nn.Linear(1, 1)
    return events


def backward_scenario(library: Any, mode: str) -> list:
    events: list = []

    class Two(library.nn.Module):
        def forward(self, x: Any, text: str, y: Any) -> Any:
            return x * y, x + 1

    module = Two()
    x = library.ones(2, requires_grad=True)
    y = library.full((2,), 3.0, requires_grad=mode != "constant y")
    module.register_full_backward_hook(
        lambda m, inputs, outputs: events.append((plain(inputs), plain(outputs)))
    )
    module.register_full_backward_hook(lambda *args: events.append("front"), prepend=True)
    module.register_full_backward_pre_hook(lambda m, outputs: events.append(plain(outputs)))
    if mode == "replace":
        module.register_full_backward_hook(
            lambda m, inputs, outputs: tuple(None if g is None else g * 10 for g in inputs)
        )
        module.register_full_backward_pre_hook(
            lambda m, outputs: tuple(None if g is None else g + 1 for g in outputs)
        )
    if mode == "too few":
        module.register_full_backward_hook(lambda m, inputs, outputs: (inputs[0],))

    def run() -> list:
        first, second = module(x, "text", y)
        loss = first.sum() * 2 + second.sum() if mode == "both outputs" else first.sum()
        loss.backward()
        return plain([x.grad, y.grad])

    return [outcome(run), events]


@pytest.mark.parametrize("mode", ["plain", "replace", "constant y", "too few", "both outputs"])
def test_backward_hooks_are_those_of_pytorch(mode: str, oracle: Any) -> None:
    compare(oracle, lambda library: backward_scenario(library, mode))


def test_backward_hook_values() -> None:
    events, layer = [], nn.Linear(2, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    handle = layer.register_full_backward_hook(
        lambda m, inputs, outputs: events.append((plain(inputs), plain(outputs)))
    )
    x = multitorch.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert events == [([[[3.0, 3.0]]], [[[1.0]]])]
    handle.remove()
    layer(x).sum().backward()
    assert len(events) == 1
    assert x.grad.tolist() == [[6.0, 6.0]]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@both
def test_backward_hooks_without_input_gradients(library: Any) -> list:
    events: list = []
    layer = library.nn.Linear(2, 2)
    library.nn.init.constant_(layer.weight, 1.0)
    layer.register_full_backward_hook(lambda m, i, o: events.append((plain(i), plain(o))))
    layer(library.ones(1, 2)).sum().backward()
    layer.register_full_backward_hook(lambda m, i, o: (library.ones(1, 2),))
    log = [outcome(lambda: layer(library.ones(1, 2)).sum().backward())]
    with library.no_grad():
        layer(library.ones(1, 2))
    return [events, log]


@both
def test_global_backward_hooks(library: Any) -> list:
    events: list = []
    net = library.nn.Sequential(library.nn.Linear(2, 2), library.nn.ReLU())
    for parameter in net.parameters():
        library.nn.init.constant_(parameter, 1.0)
    hooks = library.nn.modules.module
    handles = [
        hooks.register_module_full_backward_hook(
            lambda m, i, o: events.append((type(m).__name__, plain(i), plain(o)))
        ),
        hooks.register_module_full_backward_pre_hook(
            lambda m, o: events.append((type(m).__name__, plain(o)))
        ),
    ]
    x = library.ones(1, 2, requires_grad=True)
    net(x).sum().backward()
    for handle in handles:
        handle.remove()
    net(x).sum().backward()
    return [events, x.grad.tolist()]


@both
def test_state_hooks_run_in_pytorchs_order(library: Any) -> list:
    events: list = []
    net = library.nn.Sequential(library.nn.Linear(1, 1))
    handles = [
        net.register_state_dict_pre_hook(lambda m, prefix, keep: events.append((prefix, keep))),
        net.register_state_dict_post_hook(
            lambda m, state, prefix, meta: events.append((list(state), prefix, dict(meta)))
        ),
        net[0]._register_state_dict_hook(lambda m, s, prefix, meta: events.append(prefix)),
        net.register_load_state_dict_pre_hook(
            lambda m, state, prefix, *rest: events.append(("load", list(state), prefix))
        ),
        net[0]._register_load_state_dict_pre_hook(
            lambda state, prefix, *rest: events.append(("load child", list(state), prefix))
        ),
        net.register_load_state_dict_post_hook(lambda m, keys: events.append(str(keys))),
    ]
    net.load_state_dict(net.state_dict())
    for handle in handles:
        handle.remove()
    net.load_state_dict(net.state_dict())
    net.register_state_dict_post_hook(lambda *args: 3)
    log = [outcome(net.state_dict)]
    layer = library.nn.Linear(1, 1)
    layer.register_load_state_dict_post_hook(lambda *args: 3)
    return [events, log, outcome(lambda: layer.load_state_dict(layer.state_dict()))]


def test_the_fast_path_returns_when_all_hooks_are_gone() -> None:
    layer = nn.Identity()
    with layer.register_forward_hook(lambda m, args, out: out + 1):
        assert layer(1) == 2
        assert layer._slow_call
    assert layer(1) == 1
    assert not layer._slow_call
