"""Optimizers: the numbers, the state, groups, hooks, errors."""

from __future__ import annotations

import copy
import math
import pickle
import re
import warnings

import numpy as np
import pytest

import multitorch as torch
from multitorch import optim

STEPS = 100

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.001, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.0001, "momentum": 0.5, "nesterov": True, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "amsgrad": True}),
    ("Adam", {"maximize": True}),
    ("Adam", {"betas": (0.0, 0.5), "eps": 1e-4}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True, "maximize": True}),
]
IDS = [f"{name}-{'-'.join(kw) or 'defaults'}" for name, kw in CASES]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def descend(lib, name: str, kw: dict, dtype: str, steps: int = STEPS, **where):
    """Minimise a sum of squares; return the optimizer and its two parameters.

    The gradients are computed by NumPy, so that nothing but the optimizer is compared.
    """
    params, targets = [], []
    for i, shape in enumerate([(7, 3), (5,)]):
        start = numbers(*shape, seed=i).astype(dtype)
        params.append(lib.tensor(start, requires_grad=True, **where))
        targets.append(numbers(*shape, seed=i + 2).astype(dtype))
    optimizer = getattr(lib.optim, name)(params, **kw)
    for i in range(steps):
        for p, target in zip(params, targets, strict=True):
            p.grad = lib.tensor((array(p) - target) * (2 + i % 3), **where)
        optimizer.step()
    return optimizer, params


def array(t) -> np.ndarray:
    return t.detach().cpu().numpy()


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "kw"), CASES, ids=IDS)
def test_equals_pytorch(device, oracle, name, kw, dtype):
    ours, params = descend(torch, name, kw, dtype, device=device)
    theirs, expected = descend(oracle, name, kw, dtype)
    tol = 1e-6 if dtype == "float32" else 1e-12
    for p, q in zip(params, expected, strict=True):
        np.testing.assert_allclose(array(p), array(q), rtol=tol, atol=tol)
    a, b = ours.state_dict(), theirs.state_dict()
    assert a["param_groups"] == b["param_groups"]
    assert a["state"].keys() == b["state"].keys()
    for i in a["state"]:
        assert list(a["state"][i]) == list(b["state"][i])
        for key, value in b["state"][i].items():
            got = a["state"][i][key]
            assert str(got.dtype).split(".")[1] == str(value.dtype).split(".")[1]
            np.testing.assert_allclose(array(got), array(value), rtol=100 * tol, atol=tol)


def reference_adam(p, grads, lr, b1, b2, eps, decay, decoupled, amsgrad):
    m, v, top = 0 * p, 0 * p, 0 * p
    for t, grad in enumerate(grads, 1):
        g = grad + (0 if decoupled else decay) * p
        p = p * (1 - lr * decay) if decoupled else p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        top = np.maximum(top, v)
        root = np.sqrt((top if amsgrad else v) / (1 - b2**t))
        p = p - lr * (m / (1 - b1**t)) / (root + eps)
    return p


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_adam_is_its_formula(device, name, amsgrad):
    start, grads = numbers(4, 3), numbers(20, 4, 3, seed=1)
    p = torch.tensor(start, device=device, requires_grad=True)
    optimizer = getattr(optim, name)([p], lr=0.1, weight_decay=0.2, amsgrad=amsgrad)
    for g in grads:
        p.grad = torch.tensor(g, device=device)
        optimizer.step()
    expected = reference_adam(start, grads, 0.1, 0.9, 0.999, 1e-8, 0.2, name == "AdamW", amsgrad)
    np.testing.assert_allclose(array(p), expected, rtol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_its_formula(device, nesterov):
    start, grads = numbers(4, 3), numbers(20, 4, 3, seed=1)
    p = torch.tensor(start, device=device, requires_grad=True)
    dampening = 0 if nesterov else 0.25
    optimizer = optim.SGD([p], 0.1, 0.9, dampening, weight_decay=0.2, nesterov=nesterov)
    x, buf = start, None
    for grad in grads:
        p.grad = torch.tensor(grad, device=device)
        optimizer.step()
        g = grad + 0.2 * x
        buf = g if buf is None else 0.9 * buf + (1 - dampening) * g
        x = x - 0.1 * (g + 0.9 * buf if nesterov else buf)
    np.testing.assert_allclose(array(p), x, rtol=1e-12)


def test_bias_correction_is_exact_in_float32(device):
    # 1 - 0.999**1 in float32 would be off by 2e-5; the first step has length lr whatever beta is
    p = torch.zeros(3, device=device, requires_grad=True)
    optimizer = optim.Adam([p], lr=1.0, betas=(0.9, 0.9999), eps=0.0)
    p.grad = torch.tensor([1e-3, 1.0, 1e3], device=device)
    optimizer.step()
    np.testing.assert_allclose(array(p), -np.ones(3), rtol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_half_precision(device, name):
    p = torch.ones(8, dtype=torch.bfloat16, device=device, requires_grad=True)
    optimizer = getattr(optim, name)([p], lr=0.125)
    p.grad = torch.ones(8, dtype=torch.bfloat16, device=device)
    optimizer.step()
    assert p.dtype is torch.bfloat16
    np.testing.assert_allclose(array(p.float()), np.full(8, 0.875), atol=0.01)


@pytest.mark.parametrize("kw", [{}, {"amsgrad": True, "weight_decay": 0.1}])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_complex_parameters(device, name, kw):
    if name == "SGD":
        kw = {"momentum": 0.9}
    start, grads = numbers(3, 2), numbers(5, 3, 2, seed=1)
    real = torch.tensor(start, device=device, requires_grad=True)
    whole = torch.tensor(start[:, 0] + 1j * start[:, 1], device=device, requires_grad=True)
    optimizers = [getattr(optim, name)([p], lr=0.1, **kw) for p in (real, whole)]
    for g in grads:
        real.grad = torch.tensor(g, device=device)
        whole.grad = torch.tensor(g[:, 0] + 1j * g[:, 1], device=device)
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_allclose(array(whole).real, array(real)[:, 0], rtol=1e-12)
    np.testing.assert_allclose(array(whole).imag, array(real)[:, 1], rtol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_large_and_strided_parameters(device, name):
    start = numbers(300, 300).astype(np.float32)
    results = []
    for transposed in (False, True):
        p = torch.tensor(start.T.copy() if transposed else start, device=device)
        p = p.t() if transposed else p
        p = p.detach().requires_grad_()
        optimizer = getattr(optim, name)([p], lr=0.1, weight_decay=0.1)
        for _ in range(3):
            p.grad = torch.tensor(start, device=device) * 2
            optimizer.step()
        results.append(array(p))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_learning_rate_as_tensor(device, name):
    plain = descend(torch, name, {"lr": 0.015625}, "float32", steps=5, device=device)[1]
    lr = torch.tensor(0.015625)
    tensor = descend(torch, name, {"lr": lr}, "float32", steps=5, device=device)[1]
    for p, q in zip(plain, tensor, strict=True):
        np.testing.assert_allclose(array(p), array(q), rtol=1e-6)
    assert lr.item() == 0.015625


def test_step_is_in_place_and_seen_by_views(device):
    p = torch.ones(2, 2, device=device, requires_grad=True)
    view = p.detach()[0]
    p.grad = torch.ones(2, 2, device=device)
    optim.SGD([p], lr=0.5).step()
    assert p.is_leaf and p.requires_grad and p.grad_fn is None
    assert view.tolist() == [0.5, 0.5]


def test_step_after_forward_breaks_backward(device):
    p = torch.ones(2, device=device, requires_grad=True)
    loss = (p * p).sum()
    p.grad = torch.ones(2, device=device)
    optim.SGD([p], lr=0.5).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_parameters_without_gradient_stay(device):
    p, q = (torch.ones(2, device=device, requires_grad=True) for _ in range(2))
    optimizer = optim.Adam([p, q], lr=0.1)
    p.grad = torch.ones(2, device=device)
    optimizer.step()
    assert q.tolist() == [1, 1]
    assert set(optimizer.state) == {p}


def test_closure(device):
    p = torch.ones(2, device=device, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 2
    assert p.tolist() == [0.5, 0.5]
    assert optimizer.step() is None


def test_zero_grad(device):
    p = torch.ones(2, device=device, requires_grad=True)
    optimizer = optim.SGD([p])
    p.grad = grad = torch.ones(2, device=device)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is grad and grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


# --- groups


def leaf(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, requires_grad=True)


def test_groups_have_their_own_hyperparameters():
    p, q = leaf(1), leaf(1)
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 1.0}], lr=0.5)
    p.grad = q.grad = torch.ones(1)
    optimizer.step()
    assert (p.item(), q.item()) == (0.5, 0.0)
    optimizer.add_param_group({"params": [leaf(1)]})
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 1.0, 0.5]


def test_named_parameters():
    p, q = leaf(1), leaf(2)
    optimizer = optim.SGD([("weight", p), ("bias", q)])
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="cannot add param group without names"):
        optimizer.add_param_group({"params": [leaf(1)]})


def bad_calls():
    p = leaf(2)
    sgd, adam = optim.SGD, optim.Adam
    return [
        (lambda: sgd(p), TypeError, "should be an iterable of Tensors or dicts, but got"),
        (lambda: sgd([]), ValueError, "optimizer got an empty parameter list"),
        (lambda: sgd([1]), TypeError, "can only optimize Tensors, but one of the params is int"),
        (lambda: sgd([p * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda: sgd([{"params": {p}}]), TypeError, "organized in ordered collections"),
        (lambda: sgd([{"params": [p]}] * 2), ValueError, "more than one parameter group"),
        (lambda: sgd([p]).add_param_group(3), TypeError, "param_group must be a dict"),
        (lambda: sgd([("a", p), leaf(1)]), ValueError, "Some param names are missing"),
        (lambda: sgd([p], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda: sgd([p], momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda: sgd([p], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda: sgd([p], nesterov=True), ValueError, "Nesterov momentum requires a momentum"),
        (lambda: sgd([p], lr=torch.ones(2)), ValueError, "Tensor lr must be 1-element"),
        (lambda: sgd([p], differentiable=True), NotImplementedError, "differentiable"),
        (lambda: adam([p], lr=math.nan), ValueError, "Invalid learning rate"),
        (lambda: adam([p], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda: adam([p], betas=(1.0, 0)), ValueError, "Invalid beta parameter at index 0: 1.0"),
        (lambda: adam([p], betas=(0, -1)), ValueError, "Invalid beta parameter at index 1: -1"),
        (lambda: adam([p], fused=True, foreach=True), RuntimeError, "cannot be `True` together"),
        (
            lambda: adam([p], lr=torch.tensor(0.1), foreach=True),
            ValueError,
            "not supported for capturable=False and foreach=True",
        ),
        (
            lambda: optim.Optimizer([p], {"lr": optim.optimizer.required}),
            ValueError,
            "didn't specify a value of required optimization parameter lr",
        ),
        (lambda: optim.Optimizer([p], {}).step(), NotImplementedError, ""),
    ]


@pytest.mark.parametrize("i", range(22))
def test_errors(i):
    calls = bad_calls()
    assert len(calls) == 22
    call, error, message = calls[i]
    with pytest.raises(error, match=re.escape(message) or None):
        call()


def test_duplicates_warn():
    p = leaf(2)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p])


def test_repr():
    lines = repr(optim.SGD([leaf(1)], lr=0.5)).splitlines()
    assert lines[:3] == ["SGD (", "Parameter Group 0", "    dampening: 0"]
    assert "    lr: 0.5" in lines and lines[-1] == ")"


# --- saving and loading


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_state_dict_resumes(device, name):
    kw = {"lr": 0.01, **({"momentum": 0.9} if name == "SGD" else {"amsgrad": True})}
    first, params = descend(torch, name, kw, "float64", steps=5, device=device)
    state = copy.deepcopy(first.state_dict())
    assert state["param_groups"][0]["params"] == [0, 1]
    copies = [p.detach().clone().requires_grad_() for p in params]
    second = getattr(optim, name)(copies, lr=1.0)
    second.load_state_dict(state)
    assert second.param_groups[0]["lr"] == 0.01
    for p, q in zip(params, copies, strict=True):
        p.grad = torch.tensor(numbers(*p.shape, seed=9), device=device)
        q.grad = p.grad.clone()
    first.step()
    second.step()
    for p, q in zip(params, copies, strict=True):
        assert torch.equal(p, q)


def test_loading_casts_state_to_the_parameter(device):
    source, _ = descend(torch, "Adam", {}, "float64", steps=2)
    _, params = descend(torch, "Adam", {}, "float32", steps=0, device=device)
    target = optim.Adam(params)
    target.load_state_dict(source.state_dict())
    state = target.state[params[0]]
    assert state["exp_avg"].dtype is torch.float32 and state["step"].dtype is torch.float32
    assert state["exp_avg"].device == state["step"].device == params[0].device
    assert state["step"].item() == 2


def test_loading_the_wrong_shape_of_groups():
    one = optim.SGD([leaf(1)])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        one.load_state_dict(optim.SGD([{"params": leaf(1)}, {"params": leaf(1)}]).state_dict())
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        one.load_state_dict(optim.SGD([leaf(1), leaf(1)]).state_dict())


def test_deepcopy_and_pickle():
    optimizer, params = descend(torch, "Adam", {}, "float32", steps=2)
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (p, _) = twin.param_groups[0]["params"]
        assert p is not params[0] and torch.equal(p, params[0])
        assert torch.equal(twin.state[p]["exp_avg"], optimizer.state[params[0]]["exp_avg"])
        p.grad = torch.ones(7, 3)
        twin.step()
        assert not torch.equal(p, params[0])
    p, both = leaf(2), None
    both = copy.deepcopy({"p": p, "optimizer": optim.SGD([p])})
    assert both["optimizer"].param_groups[0]["params"][0] is both["p"]


# --- hooks


def test_step_hooks():
    p = leaf(1)
    p.grad = torch.ones(1)
    optimizer, calls = optim.SGD([p]), []
    before = optimizer.register_step_pre_hook(lambda o, a, k: calls.append(("pre", o, a, k)))
    after = optimizer.register_step_post_hook(lambda o, a, k: calls.append(("post", o, a, k)))
    everywhere = optim.optimizer.register_optimizer_step_pre_hook(
        lambda o, a, k: calls.append("global")
    )
    optimizer.step(None)
    assert calls == ["global", ("pre", optimizer, (None,), {}), ("post", optimizer, (None,), {})]
    for handle in (before, after, everywhere):
        handle.remove()
    optimizer.step()
    assert len(calls) == 3


def test_step_pre_hook_replaces_arguments():
    p = leaf(1)
    p.grad = torch.ones(1)
    optimizer = optim.SGD([p])
    with optimizer.register_step_pre_hook(lambda o, a, k: ((), {"closure": lambda: 5})):
        assert optimizer.step() == 5
    with optimizer.register_step_pre_hook(lambda o, a, k: 3):
        with pytest.raises(RuntimeError, match="must return None or a tuple"):
            optimizer.step()


def test_state_dict_hooks():
    optimizer, calls = optim.SGD([leaf(1)], lr=0.5), []
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("pre"))
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "extra": 1})
    state = optimizer.state_dict()
    assert state["extra"] == 1 and calls == ["pre"]

    def faster(optimizer, state):
        state["param_groups"][0]["lr"] = 2.0
        return state

    optimizer.register_load_state_dict_pre_hook(faster)
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append("loaded"))
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 2.0 and calls == ["pre", "loaded"]


def test_users_optimizer():
    class Sign(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    state["n"] = state.get("n", 0) + 1
                    p.add_(p.grad.sign(), alpha=-group["lr"])

    p = leaf(2)
    p.grad = torch.tensor([3.0, -3.0])
    optimizer, calls = Sign([p], 0.5), []
    optimizer.register_step_post_hook(lambda *a: calls.append(1))
    optimizer.step()
    assert p.tolist() == [0.5, 1.5] and calls == [1]
    assert optimizer.state_dict()["state"] == {0: {"n": 1}}


def test_one_op_for_each_parameter(device, monkeypatch):
    """The kernels that one step calls, once the state exists: one for each parameter."""
    from multitorch.ops.op import REGISTRY

    for name, kw in [("SGD", {}), ("SGD", {"momentum": 0.9}), ("Adam", {})]:
        optimizer, params = descend(torch, name, kw, "float32", steps=1, device=device)
        calls = []

        def count(op, dev, calls=calls):
            kernel = op.kernels[dev]
            return lambda *a, **k: calls.append(op.name) or kernel(*a, **k)

        dev = params[0]._dev
        with monkeypatch.context() as patch:
            for op in REGISTRY.values():
                if dev in op.kernels:
                    patch.setitem(op.kernels, dev, count(op, dev))
            optimizer.step()
        assert len(calls) == len(params), calls


def test_stepping_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        descend(torch, "Adam", {"betas": (0.0, 0.999)}, "float32", steps=2)


@pytest.mark.parametrize(("name", "kw"), [("SGD", {}), ("SGD", {"momentum": 0.9}), ("Adam", {})])
def test_inside_compile_with_a_schedule(device, name, kw):
    pytest.importorskip("jax", reason="compile needs JAX")
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    weights = []
    for compiled in (False, True):
        w = torch.tensor(numbers(4, 3), dtype=torch.float32, device=device, requires_grad=True)
        x = torch.tensor(numbers(8, 4, seed=1), dtype=torch.float32, device=device)
        optimizer = getattr(optim, name)([w], lr=0.1, **kw)
        scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

        def train(x, w=w, optimizer=optimizer):
            optimizer.zero_grad()
            (x @ w).square().mean().backward()
            optimizer.step()

        step = torch.compile(train) if compiled else train
        for _ in range(6):
            step(x)
            scheduler.step()
        weights.append(array(w))
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5, atol=1e-6)
    # the first step makes the state; after that the rate is an input of one program
    assert step.compiles <= 2
