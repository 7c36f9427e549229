"""Learning-rate schedulers against PyTorch's and against their closed forms."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import warnings

import numpy as np
import pytest

import multitorch as torch
from multitorch import optim

STEPS = 50

SCHEDULES = {
    "StepLR": lambda L, o, **k: L.StepLR(o, 3, 0.5, **k),
    "MultiStepLR": lambda L, o, **k: L.MultiStepLR(o, [2, 2, 5, 30], 0.5, **k),
    "ConstantLR": lambda L, o, **k: L.ConstantLR(o, 0.3, 4, **k),
    "LinearLR": lambda L, o, **k: L.LinearLR(o, 0.3, 0.9, 7, **k),
    "ExponentialLR": lambda L, o, **k: L.ExponentialLR(o, 0.9, **k),
    "PolynomialLR": lambda L, o, **k: L.PolynomialLR(o, 20, 1.7, **k),
    "CosineAnnealingLR": lambda L, o, **k: L.CosineAnnealingLR(o, 7, 0.01, **k),
    "LambdaLR": lambda L, o, **k: L.LambdaLR(o, lambda epoch: 1 / (1 + epoch), **k),
    "MultiplicativeLR": lambda L, o, **k: L.MultiplicativeLR(o, lambda epoch: 0.97, **k),
    "OneCycleLR": lambda L, o, **k: L.OneCycleLR(o, 0.5, total_steps=60, **k),
    "OneCycleLR three phases": lambda L, o, **k: L.OneCycleLR(
        o,
        [0.5, 0.6],
        epochs=6,
        steps_per_epoch=10,
        three_phase=True,
        anneal_strategy="linear",
        pct_start=0.2,
        **k,
    ),  # fmt: skip
    "CyclicLR": lambda L, o, **k: L.CyclicLR(o, 0.01, 0.2, 5, 8, **k),
    "CyclicLR triangular2": lambda L, o, **k: L.CyclicLR(
        o, [0.01, 0.02], 0.2, 5, mode="triangular2", **k
    ),
    "CyclicLR exp_range": lambda L, o, **k: L.CyclicLR(
        o, 0.01, 0.2, 5, mode="exp_range", gamma=0.99, **k
    ),
    "CyclicLR scale_fn": lambda L, o, **k: L.CyclicLR(
        o, 0.01, 0.2, 5, scale_fn=lambda x: 0.5**x, scale_mode="iterations", **k
    ),
    "CosineAnnealingWarmRestarts": lambda L, o, **k: L.CosineAnnealingWarmRestarts(o, 5, 2, **k),
    "CosineAnnealingWarmRestarts equal": lambda L, o, **k: L.CosineAnnealingWarmRestarts(
        o, 5, eta_min=0.001, **k
    ),
}
CHAINABLE = list(SCHEDULES)[:9]


def make_optimizer(lib, adam: bool = False, resumed: bool = False, tensor: bool = False):
    def rate(lr):
        return lib.tensor(lr, dtype=lib.float64) if tensor else lr

    params = [lib.ones(2, requires_grad=True) for _ in range(2)]
    for p in params:
        p.grad = lib.zeros(2)
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": rate(0.3)}]
    kind, kw = (lib.optim.Adam, {}) if adam else (lib.optim.SGD, {"momentum": 0.9})
    optimizer = kind(groups, lr=rate(0.1), **kw)
    if resumed:
        for lr, group in zip((0.1, 0.3), optimizer.param_groups, strict=True):
            group |= {"initial_lr": rate(lr), "max_lr": 0.5, "min_lr": 0.001}
            group |= {"max_momentum": 0.95, "base_momentum": 0.85}
    return optimizer


def plain(x):
    if hasattr(x, "item") and hasattr(x, "dtype"):
        return x.item()
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items() if key != "params"}
    if isinstance(x, list | tuple):
        return type(x)(plain(value) for value in x)
    return x


def assert_same(a, b, where=""):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    elif isinstance(a, float):
        assert a == b or abs(a - b) <= 1e-12, f"{where}: {a} != {b}"
    else:
        assert a == b, where


def trace(lib, make, epochs=None, resumed=None, **options):
    """Run a schedule (or a list of them); return rates, groups and states of every epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = make_optimizer(lib, resumed=resumed is not None, **options)
        made = make(
            lib.optim.lr_scheduler, optimizer, **({"last_epoch": resumed} if resumed else {})
        )
        schedulers = made if isinstance(made, list) else [made]
        out = []
        for epoch in epochs or [None] * STEPS:
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step() if epoch is None else scheduler.step(epoch)
            states = [scheduler.state_dict() for scheduler in schedulers]
            out.append(plain([schedulers[-1].get_last_lr(), optimizer.param_groups, states]))
    return out


@pytest.mark.oracle
@pytest.mark.parametrize("tensor", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize("resumed", [None, 2, 6])
@pytest.mark.parametrize("adam", [False, True], ids=["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_equals_pytorch(oracle, name, adam, resumed, tensor):
    make, options = SCHEDULES[name], {"adam": adam, "resumed": resumed, "tensor": tensor}
    assert_same(trace(torch, make, **options), trace(oracle, make, **options))


@pytest.mark.oracle
@pytest.mark.parametrize("name", SCHEDULES)
def test_given_epochs_equal_pytorch(oracle, name):
    epochs = [3, 4, 0, 17, 16, 2, 40]
    if name.startswith("CosineAnnealingWarm"):
        epochs += [0.5, 1.25, 12.75, 30.1]
    make = SCHEDULES[name]
    assert_same(trace(torch, make, epochs), trace(oracle, make, epochs))


@pytest.mark.oracle
@pytest.mark.parametrize("pair", list(itertools.pairwise([*CHAINABLE, CHAINABLE[0]])), ids="-".join)
def test_combinations_equal_pytorch(oracle, pair):
    first, second = (SCHEDULES[name] for name in pair)

    def chained(L, o):
        return L.ChainedScheduler([first(L, o), second(L, o)])

    def sequential(L, o):
        return L.SequentialLR(o, [first(L, o), second(L, o), SCHEDULES["StepLR"](L, o)], [4, 19])

    def nested(L, o):
        return L.SequentialLR(o, [chained(L, o), second(L, o)], [7])

    def side_by_side(L, o):
        return [first(L, o), second(L, o)]

    for make in (chained, sequential, nested, side_by_side):
        assert_same(trace(torch, make), trace(oracle, make), make.__name__)


CLOSED = {
    "StepLR": lambda lr, n: lr * 0.5 ** (n // 3),
    "MultiStepLR": lambda lr, n: lr * 0.5 ** sum(n >= m for m in (2, 2, 5, 30)),
    "ConstantLR": lambda lr, n: lr * (0.3 if n < 4 else 1),
    "LinearLR": lambda lr, n: lr * (0.3 + 0.6 * min(n, 7) / 7),
    "ExponentialLR": lambda lr, n: lr * 0.9**n,
    "PolynomialLR": lambda lr, n: lr * (1 - min(n, 20) / 20) ** 1.7,
    "CosineAnnealingLR": lambda lr, n: 0.01 + (lr - 0.01) * (1 + math.cos(math.pi * n / 7)) / 2,
    "LambdaLR": lambda lr, n: lr / (1 + n),
    "MultiplicativeLR": lambda lr, n: lr * 0.97**n,
}


@pytest.mark.parametrize("name", CLOSED)
def test_recursion_is_the_closed_form(name):
    optimizer = make_optimizer(torch)
    scheduler = SCHEDULES[name](optim.lr_scheduler, optimizer)
    for n in range(STEPS):
        expected = [CLOSED[name](lr, n) for lr in (0.1, 0.3)]
        np.testing.assert_allclose(scheduler.get_last_lr(), expected, atol=1e-13)
        assert [g["lr"] for g in optimizer.param_groups] == scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()


def test_one_cycle_peaks_and_ends():
    optimizer = make_optimizer(torch)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=11, pct_start=0.5)
    rates, momenta = [], []
    for _ in range(11):
        rates.append(scheduler.get_last_lr()[0])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(0.02) and rates[-1] == pytest.approx(0.02e-4)
    assert max(rates) < 0.5 + 1e-12 and momenta[0] == pytest.approx(0.95)
    assert min(momenta) >= 0.85 - 1e-12
    with pytest.raises(ValueError, match="Tried to step 12 times"):
        scheduler.step()


def test_warm_restart():
    optimizer = make_optimizer(torch)
    scheduler = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, 2)
    rates = []
    for _ in range(7):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert [i for i, lr in enumerate(rates) if lr == 0.1] == [0, 2, 6]


# --- reduction on a plateau


def plateau_options():
    rng = np.random.default_rng(0)
    for _ in range(20):
        yield {
            "mode": str(rng.choice(["min", "max"])),
            "factor": float(rng.random()),
            "patience": int(rng.integers(5)),
            "threshold": float(rng.choice([1e-4, 0.1])),
            "threshold_mode": str(rng.choice(["rel", "abs"])),
            "cooldown": int(rng.integers(3)),
            "min_lr": [0, 0.01, [0.01, 0.02]][rng.integers(3)],
        }


@pytest.mark.oracle
def test_plateau_equals_pytorch(oracle):
    metrics = [float(x) for x in np.random.default_rng(1).standard_normal(STEPS)]
    for options in plateau_options():
        results = []
        for lib in (torch, oracle):
            optimizer = make_optimizer(lib)
            scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
            for metric in metrics:
                scheduler.step(lib.tensor(metric))
                results.append(plain([optimizer.param_groups, scheduler.state_dict()]))
        assert_same(results[:STEPS], results[STEPS:], str(options))


def test_plateau_waits_cuts_and_cools_down():
    optimizer = make_optimizer(torch)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5, cooldown=2)
    rates = []
    for metric in [1.0] + [2.0] * 8:
        scheduler.step(metric)
        rates.append(scheduler.get_last_lr()[0])
    assert rates == [0.1, 0.1] + [0.05] * 4 + [0.025] * 3


def test_plateau_knows_groups_that_come_later():
    optimizer = make_optimizer(torch)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    optimizer.add_param_group({"params": [torch.ones(1, requires_grad=True)], "lr": 1.0})
    scheduler.step(1.0)
    scheduler.step(1.0)
    assert scheduler.get_last_lr()[2] == 0.1


# --- state, warnings, errors


@pytest.mark.parametrize("name", SCHEDULES)
def test_state_dict_resumes(name):
    make = SCHEDULES[name]
    straight, optimizer = [], make_optimizer(torch)
    scheduler = make(optim.lr_scheduler, optimizer)
    for i in range(20):
        if i == 10:
            saved = copy.deepcopy([optimizer.state_dict(), scheduler.state_dict()])
        straight.append(plain(scheduler.get_last_lr()))
        optimizer.step()
        scheduler.step()
    other = make_optimizer(torch)
    resumed = make(optim.lr_scheduler, other)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for expected in straight[10:]:
        assert_same(plain(resumed.get_last_lr()), expected)
        other.step()
        resumed.step()


def test_state_dict_pickles():
    scheduler = optim.lr_scheduler.OneCycleLR(make_optimizer(torch), 0.5, 10)
    state = scheduler.state_dict()
    assert "optimizer" not in state
    assert pickle.loads(pickle.dumps(state)) == state


def test_callable_objects_are_saved():
    class Decay:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, epoch):
            return self.rate**epoch

    optimizer = make_optimizer(torch)
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, [Decay(0.5), lambda epoch: 1.0])
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"rate": 0.5}, None]
    decay = Decay(0.9)
    optim.lr_scheduler.LambdaLR(optimizer, [decay, lambda epoch: 1.0]).load_state_dict(state)
    assert decay.rate == 0.5


def test_warnings_about_the_order_of_steps():
    L = optim.lr_scheduler
    scheduler = L.StepLR(make_optimizer(torch), 3)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before"):
        scheduler.step()
    optimizer = make_optimizer(torch)
    scheduler = L.StepLR(optimizer, 3)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match="has been overridden"):
        scheduler.step()
    optimizer = make_optimizer(torch)
    scheduler = L.StepLR(optimizer, 3)
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
    with pytest.warns(UserWarning, match="epoch parameter in `scheduler.step"):
        scheduler.step(5)
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        scheduler.get_lr()


def test_users_scheduler():
    class Halving(optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [lr / 2**self.last_epoch for lr in self.base_lrs]

    optimizer = make_optimizer(torch)
    scheduler = Halving(optimizer)
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.05, 0.15]


def test_tensor_rate_stays_the_same_tensor():
    optimizer = make_optimizer(torch, tensor=True)
    lr = optimizer.param_groups[0]["lr"]
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == pytest.approx(0.05)
    assert scheduler.base_lrs[0].item() == pytest.approx(0.1)


ERRORS = [
    (lambda L, o: L.StepLR(3, 3), TypeError, "int is not an Optimizer"),
    (lambda L, o: L.StepLR(o, 3, last_epoch=2), KeyError, "'initial_lr' is not specified"),
    (lambda L, o: L.ConstantLR(o, 2.0), ValueError, "expected to be between 0 and 1"),
    (lambda L, o: L.LinearLR(o, 0), ValueError, "expected to be greater than 0"),
    (lambda L, o: L.LinearLR(o, 0.1, 2), ValueError, "Ending multiplicative factor"),
    (lambda L, o: L.LambdaLR(o, [abs]), ValueError, "Expected 2 lr_lambdas, but got 1"),
    (lambda L, o: L.MultiplicativeLR(o, 3), TypeError, "lr_lambda should be a function"),
    (lambda L, o: L.OneCycleLR(o, 0.1), ValueError, "You must define either total_steps"),
    (lambda L, o: L.OneCycleLR(o, 0.1, -1), ValueError, "Expected positive integer total_steps"),
    (lambda L, o: L.OneCycleLR(o, 0.1, 9, pct_start=2), ValueError, "pct_start, but got 2"),
    (lambda L, o: L.OneCycleLR(o, 0.1, 9, anneal_strategy="x"), ValueError, "instead got x"),
    (lambda L, o: L.OneCycleLR(o, [0.1], 9), ValueError, "max_lr has 1 values, param_groups has 2"),
    (lambda L, o: L.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0"),
    (lambda L, o: L.ReduceLROnPlateau(o, mode="x"), ValueError, "mode x is unknown"),
    (lambda L, o: L.ReduceLROnPlateau(o, min_lr=[1]), ValueError, "expected 2 min_lrs, got 1"),
    (lambda L, o: L.CosineAnnealingWarmRestarts(o, 0), ValueError, "positive integer T_0"),
    (lambda L, o: L.CosineAnnealingWarmRestarts(o, 1, 0), ValueError, "T_mult >= 1"),
    (lambda L, o: L.CosineAnnealingWarmRestarts(o, 2).step(-1), ValueError, "non-negative epoch"),
    (lambda L, o: L.CyclicLR(o, 0.1, 0.2, mode="x"), ValueError, "mode is invalid"),
    (lambda L, o: L.SequentialLR(o, [], []), ValueError, "expects at least one scheduler"),
    (
        lambda L, o: L.SequentialLR(o, [L.StepLR(o, 2)], [1]),
        ValueError,
        "number of schedulers 1 and the number of milestones to be equal to 1",
    ),
    (
        lambda L, o: L.SequentialLR(o, [L.ReduceLROnPlateau(o), L.StepLR(o, 2)], [1]),
        ValueError,
        "does not support `ReduceLROnPlateau`",
    ),
    (
        lambda L, o: L.ChainedScheduler([L.StepLR(o, 2), L.StepLR(make_optimizer(torch), 2)]),
        ValueError,
        "expects all schedulers to belong to the same optimizer",
    ),
    (lambda L, o: L.ChainedScheduler([]), ValueError, "at least one scheduler to be chained"),
    (lambda L, o: L.LRScheduler(o), NotImplementedError, ""),
]


@pytest.mark.parametrize("i", range(len(ERRORS)))
def test_errors(i):
    call, error, message = ERRORS[i]
    with pytest.raises(error, match=message or None):
        call(optim.lr_scheduler, make_optimizer(torch))
