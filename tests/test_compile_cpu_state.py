"""Compiled functions of tensors on cpu: states stay where they are, whoever else looks at them."""

from __future__ import annotations

import copy
import gc
import signal
import threading

import numpy as np
import pytest

import multitorch

pytest.importorskip("jax")

STEPS = 6
OPTIMIZERS = {
    "sgd": lambda p: multitorch.optim.SGD(p, 0.1),
    "momentum": lambda p: multitorch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.5),
    "adam": lambda p: multitorch.optim.Adam(p, amsgrad=True),
    "adamw": lambda p: multitorch.optim.AdamW(p),
    "rmsprop": lambda p: multitorch.optim.RMSprop(p, momentum=0.9, centered=True),
    "asgd": lambda p: multitorch.optim.ASGD(p),
    "rprop": lambda p: multitorch.optim.Rprop(p),
    "adafactor": lambda p: multitorch.optim.Adafactor(p),
}


class Training:
    """A linear model under Adam; `step` is compiled or not."""

    def __init__(self, compiled: bool, device: str = "cpu", optimizer: str = "adam") -> None:
        multitorch.manual_seed(0)
        self.model = multitorch.nn.Linear(4, 3).to(device)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.x = multitorch.arange(8.0, device=device).view(2, 4) / 8
        model, optimize = self.model, self.optimizer

        def step(x):
            optimize.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimize.step()
            return loss.detach()

        self.step = multitorch.compile(step) if compiled else step

    def states(self):
        """Return the parameters and the optimizer's tensors."""
        inner = [t for state in self.optimizer.state.values() for t in state.values()]
        return [*self.model.parameters(), *inner]


def test_states_stay_where_they_are():
    training = Training(compiled=True)
    step, x = training.step, training.x
    step(x)
    tensors = training.states()
    arrays, places = [t._a for t in tensors], [t.data_ptr() for t in tensors]
    for _ in range(STEPS):
        step(x)
        assert [t.data_ptr() for t in tensors] == places
        assert all(t._a is a for t, a in zip(tensors, arrays, strict=True))
    assert step.skipped >= STEPS - 3
    (program,) = step._programs.values()
    assert [set(kept) for kept in program._in_place.values()] == [{True}] * len(program._in_place)
    assert len(program.donated) == len(tensors)


@pytest.mark.parametrize(
    ("name", "place"), [*[(name, "cpu") for name in OPTIMIZERS], ("adam", "jax"), ("asgd", "jax")]
)
def test_a_training_step_is_compiled_once(name, place):
    """The optimizer's state, which begins in the first step, is an input of its program, too."""
    eager, compiled = Training(False, optimizer=name), Training(True, place, name)
    for _ in range(4):
        expected, found = eager.step(eager.x), compiled.step(compiled.x)
        np.testing.assert_allclose(found.item(), expected.item(), rtol=1e-5)
    for a, b in zip(eager.states(), compiled.states(), strict=True):
        np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-4, atol=1e-6)
    assert compiled.step.compiles == 1


HOLDERS = {
    "view": lambda m, o: m.weight.detach()[1:],
    "numpy": lambda m, o: m.weight.detach().numpy(),
    "view of numpy": lambda m, o: m.weight.detach().numpy()[::2].T,
    "dlpack": lambda m, o: np.from_dlpack(m.weight.detach()),
    "state_dict": lambda m, o: m.state_dict()["weight"],
    "optimizer's state_dict": lambda m, o: o.state_dict()["state"][0]["exp_avg"],
    "deepcopy": lambda m, o: copy.deepcopy(m).weight,
    "clone": lambda m, o: m.weight.clone(),
    "parameter": lambda m, o: multitorch.nn.Parameter(m.weight.data),
}


def _value(held):
    return np.array(held if isinstance(held, np.ndarray) else held.detach().numpy())


@pytest.mark.parametrize("begin", [1, 4])
@pytest.mark.parametrize("name", HOLDERS)
def test_who_holds_a_state_sees_what_eager_code_shows(name, begin):
    """From before there is a plan, and from after it; and a write through the holder counts."""
    found = []
    for compiled in (False, True):
        training, values = Training(compiled), []
        held = None
        for i in range(begin + 4):
            if i == begin:
                held = HOLDERS[name](training.model, training.optimizer)
            values.append(training.step(training.x).numpy())
            if held is not None:
                values.append(_value(held))
            if i == begin + 1 and isinstance(held, np.ndarray) and held.flags.writeable:
                held[...] = 0.5
        found.append(values)
    for expected, value in zip(*found, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("begin", [1, 4])
@pytest.mark.parametrize("place", ["cpu", "jax"])
def test_what_eager_code_saved_of_a_state_must_not_change(place, begin):
    training = Training(True, place)
    for _ in range(begin):
        training.step(training.x)
    squares = (training.model.weight**2).sum()
    training.step(training.x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward()


def test_memory_outlives_its_tensor():
    training = Training(compiled=True)
    for _ in range(4):
        training.step(training.x)
    held = training.model.weight.detach().numpy()
    before = held.copy()
    training.model.weight = multitorch.nn.Parameter(multitorch.ones(3, 4))
    training.step(training.x)
    del training
    gc.collect()
    np.testing.assert_array_equal(held, before)


def test_memory_of_others_is_written_to_where_it_is():
    memory = np.zeros(4, np.float32)
    count = multitorch.from_numpy(memory)

    @multitorch.compile
    def add(x):
        count.add_(x)

    for i in range(1, STEPS):
        add(multitorch.ones(4))
        np.testing.assert_array_equal(memory, np.full(4, i, np.float32))


def test_a_view_that_is_read_while_its_base_is_written():
    """The view's values are those from before the write; its memory is the state's."""
    state = multitorch.arange(64.0)
    view = state[:32]

    @multitorch.compile
    def shift(x):
        state.copy_(multitorch.cat((view, view)) + x)

    expected = np.arange(64, dtype=np.float32)
    for _ in range(STEPS):
        shift(multitorch.ones(()))
        expected = np.concatenate((expected[:32], expected[:32])) + 1
        np.testing.assert_array_equal(state.numpy(), expected)


def test_states_that_swap_and_share_values():
    a, b, c = multitorch.zeros(3), multitorch.ones(3), multitorch.zeros(3)

    @multitorch.compile
    def turn(x):
        old = a.clone()
        a.copy_(b)
        b.copy_(old + x)
        c.copy_(b)
        return b.clone()

    kept = []
    for i in range(STEPS):
        kept.append(turn(multitorch.ones(3)))
        assert [a.tolist()[0], b.tolist()[0]] == [(i + 2) // 2, (i + 3) // 2]
        assert c.tolist() == b.tolist()
    assert [k.tolist()[0] for k in kept] == [1, 2, 2, 3, 3, 4]


def test_a_function_of_states_that_are_arguments():
    weight, x = multitorch.zeros(100), multitorch.ones(100)

    @multitorch.compile
    def accumulate(w, x):
        w.add_(x)
        return w.sum()

    memory = weight.numpy()
    sums = [accumulate(weight, x).item() for _ in range(STEPS)]
    assert sums == [100.0 * (i + 1) for i in range(STEPS)]
    np.testing.assert_array_equal(memory, STEPS)


def test_large_results_are_their_own():
    x = multitorch.ones(1 << 15)

    @multitorch.compile
    def both(x):
        y = x * 2
        return y, y.clone(), x.clone()

    before = []
    for _ in range(STEPS):
        y, z, same = both(x)
        y.add_(1)
        assert (y[0].item(), z[0].item(), same[0].item(), x[0].item()) == (3, 2, 1, 1)
        same.add_(5)
        before.append((y, z, same))
        assert x[0].item() == 1
    assert all(y[0].item() == 3 and s[-1].item() == 6 for y, _, s in before)


def test_states_of_many_dtypes():
    kinds = ["float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool", "complex64"]
    states = [multitorch.zeros(5, dtype=getattr(multitorch, k)) for k in kinds]
    states += [multitorch.zeros(()), multitorch.zeros(0)]

    @multitorch.compile
    def grow(x):
        for s in states:
            s.add_(x.to(s.dtype))

    for _ in range(STEPS):
        grow(multitorch.ones(()))
    for s in states:
        assert s.tolist() == multitorch.full(s.shape, STEPS).to(s.dtype).tolist()


@pytest.mark.parametrize("place", ["cpu", "jax"])
def test_an_interrupt_leaves_states_whole(place):
    """Control-C while XLA runs: the states are those from before the step, or from after it."""
    size = 400
    state = multitorch.ones(size, size, device=place) / size

    @multitorch.compile
    def square(x):
        y = state
        for _ in range(12):
            y = y @ state
        state.copy_(y / y.sum() * size * x)

    one = multitorch.ones((), device=place)
    for _ in range(4):
        square(one)
    assert square.skipped
    for delay in (0.0005, 0.002, 0.005, 0.02):
        try:
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, delay)
            while True:
                square(one)
        except KeyboardInterrupt:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        np.testing.assert_allclose(state.cpu().numpy(), 1 / size, rtol=1e-3)


def test_threads_that_share_a_state():
    """One counts, others read: no count is lost, and nobody meets memory that is gone."""
    state = multitorch.zeros(1000)

    @multitorch.compile
    def count(x):
        state.add_(x)

    @multitorch.compile
    def read(x):
        return (state * x).max()

    one, times, failures = multitorch.ones(()), 200, []
    for _ in range(4):
        count(one)
        read(one)

    def repeat(function):
        try:
            for _ in range(times):
                function(one)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=repeat, args=(f,)) for f in (count, read, count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert state.tolist() == [4 + 2 * times] * 1000


def test_states_move_where_jit_is_off():
    import jax

    training = Training(compiled=True)
    for _ in range(4):
        training.step(training.x)
    twin = Training(compiled=False)
    for _ in range(4):
        twin.step(twin.x)
    with jax.disable_jit():
        losses = [training.step(training.x).item(), twin.step(twin.x).item()]
    losses += [training.step(training.x).item(), twin.step(twin.x).item()]
    np.testing.assert_allclose(losses[::2], losses[1::2], rtol=1e-5)
