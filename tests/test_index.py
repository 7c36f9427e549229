"""Gathering, scattering, masks and tables, against PyTorch (square brackets: test_indexing)."""

from __future__ import annotations

import numpy as np
import pytest

import multitorch as torch
from tests.against_torch import compare

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::UserWarning")]
RNG = np.random.default_rng(3)


def real(*shape: int) -> np.ndarray:
    return np.asarray(RNG.standard_normal(shape))


def ints(*items: object) -> np.ndarray:
    return np.array(items, dtype=np.int64)


A34, A234, A5 = real(3, 4), real(2, 3, 4), real(5)
PLACES = ints([0, 1, 2, 0], [2, 2, 1, 0])
COLUMNS = ints([0, 1], [3, 3], [2, 0])
MASK = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=bool)

CASES = [
    ("x.gather(0, i)", A34, PLACES), ("x.gather(1, i)", A34, COLUMNS), ("x.gather(-1, i)", A5, ints(4, 4, 0)),
    ("x.gather(1, i)", A234, ints([[0, 1], [2, 2]], [[0, 0], [1, 1]])), ("x.gather(0, i)", real(), ints(0)),
    ("x.gather(0, i)", A34, ints([0, 1])), ("x.gather(0, i)", A34, np.zeros((0, 4), np.int64)),
    ("x.scatter(0, i, y)", A34, PLACES, real(2, 4)), ("x.scatter(1, i, y)", A34, ints([0], [3], [1]), real(3, 1)),
    ("x.scatter(0, i, 2.5)", A34, PLACES), ("x.scatter(0, i, value=2)", A5, ints(1, 1)),
    ("x.scatter_add(0, i, y)", A34, PLACES, real(2, 4)), ("x.scatter_add(1, i, y)", A34, COLUMNS, real(3, 2)),
    ("x.scatter_add(0, i, y)", real(), ints(0), real(1)),
    *[
        (f"x.scatter_reduce({dim}, i, y, '{how}', include_self={own})", A34, i, real(*shape))
        for how in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
        for dim, i, shape in ((0, PLACES, (2, 4)), (1, COLUMNS, (3, 2)))
    ],
    ("x.scatter_reduce(0, i, y, 'prod')", np.array([0.0, 2, 0, 3]), ints(0, 1, 2, 3, 3), np.array([2.0, 0, 0, 0, 5])),
    ("x.scatter_reduce(0, i, y, 'amax')", np.array([1.0, 2]), ints(0, 0, 1), np.array([1.0, 1, 2])),
    ("x.index_select(0, i)", A34, ints(2, 0, 0)), ("x.index_select(-1, i)", A234, ints(3, 1)),
    ("x.index_select(0, i)", A5, np.asarray(2)), ("x.index_select(0, i)", real(), ints(0)),
    ("x.index_add(0, i, y)", A34, ints(0, 2), real(2, 4)), ("x.index_add(1, i, y)", A34, ints(0, 0, 1), real(3, 3)),
    ("x.index_add(0, i, y, alpha=2)", A34, ints(1, 1), real(2, 4)), ("x.index_add(0, i, y)", A5, ints(1, 1), real(2)),
    ("x.index_copy(0, i, y)", A34, ints(0, 2), real(2, 4)), ("x.index_copy(1, i, y)", A34, ints(3), real(3, 1)),
    ("x.index_fill(0, i, 2)", A34, ints(0, 2)), ("x.index_fill(1, i, y)", A34, ints(0, 3), real()),
    ("x.index_reduce(0, i, y, 'mean')", A34, ints(1, 1), real(2, 4)),
    ("x.index_reduce(1, i, y, 'amax', include_self=False)", A34, ints(1, 1, 2), real(3, 3)),
    ("x.take(i)", A34, ints([0, 11], [5, -1])), ("x.put(i, y)", A34, ints(0, 11), real(2)),
    ("x.put(i, y, accumulate=True)", A34, ints(3, 3), real(2)), ("torch.take_along_dim(x, i, 0)", A34, PLACES),
    ("torch.take_along_dim(x, i, 1)", A34, ints([0, 1])), ("torch.take_along_dim(x, i)", A34, ints(4, 4)),
    ("x.masked_fill(i, 2)", A34, MASK), ("x.masked_fill(i, y)", A34, MASK, real()),
    ("x.masked_fill(i, -1.5)", A34, MASK[0]), ("x.masked_fill(i, 1)", A5[:4], MASK),
    ("x.masked_select(i)", A34, MASK), ("x.masked_select(i)", A34, MASK[:, :1]),
    ("x.masked_scatter(i, y)", A34, MASK, real(6)), ("x.masked_scatter(i, y)", A34, MASK[:, :1], real(3, 4)),
    ("x.index_put((i,), y)", A34, ints(0, 2), real(2, 4)), ("x.index_put((i,), y)", A34, ints(0, 2), real(4)),
    ("x.index_put((i, i), y, True)", A34, ints(0, 2, 0), real(3)), ("x.index_put((i,), y)", A34, MASK, real()),
    ("x[i]", A34, MASK), ("x[i, 1:]", A34, ints(2, 2)), ("x[:, i, i]", A234, ints(0, 2)),
    ("x[i, :, i]", A234, ints(0, 1)), ("x[i]", A34, ints([0, 1], [1, 1])), ("x[1, i]", A34, MASK[0]),
    ("torch.nn.functional.embedding(i, x)", A34, ints([0, 2], [2, 2])),
    ("torch.nn.functional.embedding(i, x, padding_idx=2)", A34, ints([0, 2], [2, 1])),
    ("torch.nn.functional.embedding(i, x, scale_grad_by_freq=True)", A34, ints([0, 2], [2, 2])),
    ("torch.embedding(x, i)", A34, ints(1, 1)), ("torch.embedding(x, i, 1)", A34, ints(1, 2)),
    ("torch.nn.functional.one_hot(i, 4) * x", A34, ints(0, 3, 1)),
    ("x.repeat_interleave(2)", A34, None), ("x.repeat_interleave(3, 1)", A34, None),
    ("x.repeat_interleave(i, 0)", A34, ints(2, 0, 1)), ("x.repeat_interleave(i, dim=0)", A34, ints(2)),
    ("torch.where(i, x, y)", A34, MASK, real(3, 4)),
]  # fmt: skip


def run(code: str):
    return lambda lib, x, i=None, y=None: eval(code, {"torch": lib, "x": x, "i": i, "y": y})


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_values_and_derivatives(oracle, device, case):
    # PyTorch has no second derivative of scale_grad_by_freq; XLA would compile for minutes
    order = 1 if "scale_grad" in case[0] or device != "cpu" else 2
    compare(oracle, device, run(case[0]), *case[1:], order=order)


INPLACE = [
    ("x.scatter_(0, i, y)", A34, PLACES, real(2, 4)), ("x.scatter_(0, i, 1.5)", A34, PLACES),
    ("x.scatter_add_(0, i, y)", A34, PLACES, real(2, 4)), ("x.index_add_(0, i, y)", A34, ints(0, 0), real(2, 4)),
    ("x.index_copy_(1, i, y)", A34, ints(0, 2), real(3, 2)), ("x.index_fill_(0, i, 3)", A34, ints(0, 2)),
    ("x.masked_fill_(i, 7)", A34, MASK), ("x.masked_scatter_(i, y)", A34, MASK, real(6)),
    ("x.index_put_((i,), y)", A34, ints(2, 1), real(4)), ("x.put_(i, y)", A34, ints(2, 1), real(2)),
    ("x.index_put_((i,), y, accumulate=True)", A34, ints(1, 1), real(4)),
    ("x.scatter_reduce_(0, i, y, 'amax')", A34, PLACES, real(2, 4)), ("x.__setitem__(i, y)", A34, MASK, real()),
    ("x.tril_()", A34), ("x.__setitem__((slice(1, None), i), y)", A34, ints(0, 2), real(2, 2)),
]  # fmt: skip


@pytest.mark.parametrize("part", ["", ".t()", "[:, 1:]"])
@pytest.mark.parametrize("case", INPLACE, ids=lambda c: c[0])
def test_in_place(oracle, device, case, part):
    code, x, *rest = case
    if part:
        wide = np.zeros((4, 3) if part == ".t()" else (3, 5))

    def function(lib, x, i=None, y=None):
        if not part:
            base = view = x * 1
        else:
            base = lib.zeros(*wide.shape, dtype=x.dtype, device=x.device) + x.sum() * 0
            view = eval("base" + part, {"base": base})
            view.copy_(x)
        eval(code, {"x": view, "i": i, "y": y})
        return base * 1, view

    compare(oracle, device, function, x, *rest, order=2 if device == "cpu" else 1)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex64", "float16"])
@pytest.mark.parametrize(
    "code", ["x.gather(1, i)", "x.scatter(1, i, x)", "x.index_select(1, i[0])", "x[:, i[0]]",
             "x.masked_select(x != 0)", "x.masked_fill(x == 0, 1)", "x.scatter_add(1, i, x)",
             "x.nonzero()", "x.take(i)"]
)  # fmt: skip
def test_dtypes(oracle, device, code, dtype):
    x = np.array([[0, 1, 2], [3, 0, 0]]).astype(dtype)
    i = ints([0, 1, 2], [2, 2, 0])
    results = []
    for lib, dev in ((torch, device), (oracle, "cpu")):
        found = run(code)(lib, lib.tensor(x, device=dev), lib.tensor(i, device=dev))
        results.append((str(found.dtype), found.cpu().numpy()))
    assert results[0][0] == results[1][0]
    np.testing.assert_allclose(results[0][1], results[1][1])


def test_nonzero(oracle, device):
    x = np.array([[0, 1, 2], [3, 0, 0]])
    for lib, dev in ((torch, device), (oracle, "cpu")):
        t = lib.tensor(x, device=dev)
        assert t.nonzero().tolist() == [[0, 1], [0, 2], [1, 0]] == lib.argwhere(t).tolist()
        assert [a.tolist() for a in t.nonzero(as_tuple=True)] == [[0, 0, 1], [1, 2, 0]]
        assert tuple(lib.tensor(3, device=dev).nonzero().shape) == (1, 0)
        assert [a.tolist() for a in lib.where(t)] == [[0, 0, 1], [1, 2, 0]]


ERRORS = [
    ("x.gather(0, i)", A34, ints([0, 1, 2, 3])), ("x.gather(0, i)", A34, ints(5)),
    ("x.gather(0, i * 1.0)", A34, ints([0])), ("x.gather(0, i)", A34, ints([0] * 5)),
    ("x.gather(0, i)", A34, ints([-1])), ("x.index_select(0, i)", A34, ints(5)),
    ("x.index_select(0, i)", A34, ints([0])), ("x.index_select(0, i * 1.0)", A34, ints(0)),
    ("x.scatter(0, i, i)", A34, ints([0])), ("x.scatter(0, i, 1.0)", A34, ints([9])),
    ("x.scatter(0, i, y)", A34, ints([0, 0]), real(1, 1)), ("x.scatter_add(0, i, y)", A34, ints([9]), real(1, 1)),
    ("x.index_add(0, i, y)", A34, ints(0, 1), real(3, 4)), ("x.index_add(0, i, y)", A34, ints(9), real(1, 4)),
    ("x.index_copy(0, i, y)", A34, ints(0, 1), real(3, 4)), ("x.index_fill(0, i, 1)", A34, ints(9)),
    ("x.index_fill(0, i, y)", A34, ints(0), real(2)), ("x.take(i)", A34, ints(99)),
    ("x.put(i, y)", A34, ints(0), real(2)), ("x.masked_fill(i, 1)", A34, ints(1, 0, 1, 0)),
    ("x.masked_fill(i, y)", A34, MASK, real(2)), ("x.masked_select(i)", A34, ints(1, 0, 1, 0)),
    ("x.masked_fill(i, 1)", A5, MASK), ("x.scatter_reduce(0, i, y, 'foo')", A34, ints([0]), real(1, 1)),
    ("torch.take_along_dim(x, i, 0)", A34, ints(0)), ("torch.nn.functional.embedding(i, x)", A34, ints(9)),
    ("torch.nn.functional.one_hot(i, 2)", A34, ints(3)), ("torch.nn.functional.one_hot(i)", A34, ints(-3)),
    ("x.repeat_interleave(i, 0)", A34, ints(1, 2)), ("x.repeat_interleave(-1)", A34, None),
    ("x.index_put((i,), y.float())", A34, ints(0), real(4)), ("x.index_put((i,), y)", A34, ints(9), real(4)),
    ("x[5]", A34, None), ("x[0, 5]", A34, None), ("x[0, 0, 0]", A34, None), ("x[i]", A34, ints(7)),
    ("x[1.5]", A34, None), ("x[i, y]", A34, ints(0, 1), ints(0, 1, 2)), ("x[y]", A34, None, real(1)),
    ("x.__setitem__(0, [1, 2])", A34, None), ("x.__setitem__(0, y)", A34, None, real(5)),
    ("x.__setitem__(0, y)", A34, None, real(2, 4)), ("x.__setitem__(i, y)", A34, ints(0, 1), real(3)),
    ("x.__setitem__(0, 1j)", A34, None), ("x.__setitem__(5, 1)", A34, None), ("x.__setitem__(i, y)", A34, MASK, real(3)),
]  # fmt: skip


@pytest.mark.parametrize("case", ERRORS, ids=lambda c: c[0])
def test_errors_are_pytorchs(oracle, case):
    """On the cpu; elsewhere an index out of bounds is clamped, because a check would have to wait."""
    code, x, *rest = case
    with pytest.raises(Exception) as theirs:
        run(code)(oracle, *[a if a is None else oracle.tensor(a) for a in (x, *rest)])
    with pytest.raises(type(theirs.value)) as ours:
        run(code)(torch, *[a if a is None else torch.tensor(a) for a in (x, *rest)])
    assert str(theirs.value).split("{")[0][:30] in str(ours.value)


def test_an_integer_on_the_device_stays_there(device):
    x = torch.arange(12.0, device=device).view(3, 4)
    i = torch.tensor(-1, device=device)
    assert x[i].tolist() == [8, 9, 10, 11]
    assert x[1, i].item() == 7
    x[i, 0] = -5
    assert x[2, 0].item() == -5


def test_a_write_in_a_loop_reaches_earlier_views(device):
    x = torch.zeros(4, device=device)
    head = x[:2]
    for i in range(4):
        x[i] = i
    assert head.tolist() == [0, 1]
    x[torch.tensor([0, 1], device=device)] = torch.tensor([5.0, 6.0], device=device)
    assert head.tolist() == [5, 6]
    x[x > 4] = 0
    assert head.tolist() == [0, 0]


def test_unravel_index(oracle, device):
    flat = ints(0, 5, 23, 11)
    ours = torch.unravel_index(torch.tensor(flat, device=device), (2, 3, 4))
    theirs = oracle.unravel_index(oracle.tensor(flat), (2, 3, 4))
    assert [a.tolist() for a in ours] == [b.tolist() for b in theirs]
