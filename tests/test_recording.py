"""A recording walks along the one before: it is the same graph, or becomes another in the middle."""

from __future__ import annotations

import pytest

import multitorch as mt

pytest.importorskip("jax", reason="programs are XLA's")


@pytest.fixture
def dev(device):
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    return device


class Recorded:
    """A compiled function whose calls are always recorded, and the graphs of its calls."""

    def __init__(self, function):
        self.compiled = mt.compile(function)
        self.compiled._patience = 0

    def __call__(self, *args):
        return self.compiled(*args).tolist(), self.compiled.graph


def test_the_same_again_is_the_same_signature(dev):
    f = Recorded(lambda x, k: ((x + k) * 2).relu().sum(0))
    x = mt.ones(2, 3, device=dev)
    graphs = []
    for k in (1.0, 2.0, 3.0):
        result, graph = f(x, k)
        assert result == [4 * (1 + k)] * 3
        graphs.append(graph)
    first, *others = graphs
    for graph in others:
        assert graph.signed is first.signed and graph.calls == first.calls
        assert [a is b for a, b in zip(graph.calls, first.calls, strict=True)] == [True] * 4
        assert graph.places == first.places and graph.count == first.count
    assert f.compiled.compiles == 1


def test_what_differs_in_the_middle(dev):
    how = {"op": "relu"}
    f = Recorded(lambda x: getattr(x + 1, how["op"])() * 3)
    x = mt.ones(2, device=dev)
    expected = {"relu": 6.0, "neg": -6.0}
    for op in ("relu", "relu", "neg", "neg", "relu"):
        how["op"] = op
        assert f(x)[0] == [expected[op]] * 2
    assert f.compiled.compiles == 2


def test_what_ends_earlier_or_goes_on(dev):
    steps = [3]

    def f(x):
        for _ in range(steps[0]):
            x = x + x
        return x

    recorded = Recorded(f)
    for n in (3, 2, 2, 4, 3, 4):
        steps[0] = n
        assert recorded(mt.ones(2, device=dev))[0] == [2.0**n] * 2
    assert recorded.compiled.compiles == 3


def test_inputs_that_come_and_go(dev):
    extra = mt.full((2,), 5.0, device=dev)
    use = [False]

    def f(x, k):
        if use[0]:
            mt.add(extra, 0.5)  # its numbers shift all that follow
        return x * k

    recorded = Recorded(f)
    x = mt.ones(2, device=dev)
    for flag in (False, True, True, False):
        use[0] = flag
        assert recorded(x, 3.0)[0] == [3.0, 3.0]
    for k in (2, 2.5, 2, True):  # another type of number is another input
        assert recorded(x, k)[0] == [float(k)] * 2
    for shape in ((2,), (3,), (2, 2), (2,)):
        assert recorded(mt.ones(shape, device=dev), 2.0)[0] == mt.full(shape, 2.0).tolist()
    ints = mt.ones(2, dtype=mt.int64, device=dev)
    assert recorded(ints, 2)[0] == [2, 2] and recorded(x, 2)[0] == [2.0, 2.0]


def test_results_of_several_parts(dev):
    f = Recorded(lambda x: sum(x.max(1)[0] + part for part in x.sort(1)))
    x = mt.tensor([[3.0, 1.0], [2.0, 5.0]], device=dev)
    expected = f(x)[0]
    for _ in range(3):
        assert f(x)[0] == expected


def test_other_parameters_of_a_call(dev):
    dims = [0]
    f = Recorded(lambda x: x.sum(dims[0]))
    x = mt.tensor([[1.0, 2.0], [3.0, 4.0]], device=dev)
    for dim, expected in ((0, [4.0, 6.0]), (1, [3.0, 7.0]), (1, [3.0, 7.0]), (0, [4.0, 6.0])):
        dims[0] = dim
        assert f(x)[0] == expected


def test_a_failed_recording_leaves_nothing_behind(dev):
    fails = [False]

    def f(x):
        y = x * 2
        if fails[0]:
            raise ValueError("no")
        return y + 1

    recorded = Recorded(f)
    x = mt.ones(2, device=dev)
    for flag in (False, True, False, True, True, False):
        fails[0] = flag
        if flag:
            with pytest.raises(ValueError, match="no"):
                recorded(x)
        else:
            assert recorded(x)[0] == [3.0, 3.0]
    assert recorded.compiled.compiles == 1
