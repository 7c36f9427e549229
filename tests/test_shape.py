"""Views, rearrangements and joins, against PyTorch: values, strides, node names, two derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import multitorch as torch
from tests.against_torch import compare, flat

pytestmark = pytest.mark.oracle
RNG = np.random.default_rng(2)


def real(*shape: int) -> np.ndarray:
    return np.asarray(RNG.standard_normal(shape))


A34, A234, A1314 = real(3, 4), real(2, 3, 4), real(1, 3, 1, 4)
A0, A03, A6 = real(), real(0, 3), real(6)

VIEWS = [
    ("x.view(4, 3)", A34), ("x.view(-1)", A34), ("x.view((2, 1, 12))", A234), ("x.view(1)", A0),
    ("x.view(0, 1, 3)", A03), ("x.view(2, 2, 3).transpose(0, 1)", A34),
    ("x.view(size=(2, 6))", A34), ("x.reshape(4, 3)", A34), ("x.t().reshape(12)", A34),
    ("x.reshape(shape=(12,))", A34), ("torch.reshape(x, (2, -1))", A34),
    ("x.transpose(0, 2).reshape(2, 12)", A234), ("x.view_as(x.detach().reshape(12))", A34),
    ("x.reshape_as(x.detach().reshape(12))", A34), ("x.flatten()", A234),
    ("x.flatten(1)", A234), ("x.flatten(0, 1)", A234), ("x.flatten()", A0), ("x.ravel()", A234),
    ("x.t().ravel()", A34), ("x.unflatten(0, (2, 3))", A6), ("x.unflatten(-1, (2, -1))", A34),
    ("x.squeeze()", A1314), ("x.squeeze(0)", A1314), ("x.squeeze(-2)", A1314),
    ("x.squeeze((0, 2))", A1314), ("x.squeeze(1)", A1314), ("x.squeeze(0)", A0),
    ("x.unsqueeze(0)", A34), ("x.unsqueeze(-1)", A34), ("x.unsqueeze(1)", A34), ("x.unsqueeze(-1)", A0),
    ("x.transpose(0, 1)", A234), ("x.transpose(-1, 0)", A234), ("x.swapaxes(1, 2)", A234),
    ("x.t()", A34), ("x.t()", A6), ("x.T", A34), ("x.mT", A234), ("x.H", A34), ("x.mH", A234),
    ("x.adjoint()", A234), ("x.permute(2, 0, 1)", A234), ("x.permute((1, 0, 2))", A234),
    ("x.permute(dims=(0, 2, 1))", A234), ("torch.permute(x, (2, 1, 0))", A234),
    ("x.movedim(0, -1)", A234), ("x.movedim((0, 1), (1, 2))", A234), ("x.moveaxis(2, 0)", A234),
    ("x.expand(3, 4)", real(3, 1)), ("x.expand(2, -1, 4)", real(3, 1)), ("x.expand(5)", A0),
    ("x.expand(2, 3, 4)", A34), ("x.expand_as(torch.zeros(2, 3, 4))", A34),
    ("x.broadcast_to((2, 3, 4))", A34), ("x.t().expand(2, 4, 3)", A34),
    ("x.narrow(1, 1, 2)", A34), ("x.narrow(0, -2, 2)", A34), ("x.select(1, -1)", A34),
    ("x.select(0, 1)", A6), ("x.diagonal()", A34), ("x.diagonal(1)", A34), ("x.diagonal(-2)", A34),
    ("x.diagonal(0, 1, 2)", A234), ("x.diagonal(1, -1, 0)", A234), ("x.diagonal(9)", A34),
    ("x.unfold(0, 2, 1)", A34), ("x.unfold(1, 2, 2)", A34), ("x.unfold(-1, 3, 1)", A234),
    ("x.unfold(0, 1, 1)", A0), ("x.as_strided((2, 2), (1, 3))", A34),
    ("x.as_strided((2, 3), (1, 1), 2)", A34), ("x[1:].as_strided((2,), (4,))", A34),
    ("x.split(2)", A34), ("x.split([1, 3], 1)", A34), ("x.split(2, dim=-1)", A34),
    ("x.chunk(2)", A34), ("x.chunk(3, 1)", A34), ("x.tensor_split(2, 1)", A34),
    ("x.tensor_split((1, 3), 1)", A34), ("x.tensor_split(5)", A34), ("x.hsplit(2)", A34),
    ("x.hsplit([1, 2])", A6), ("x.vsplit([1])", A34), ("x.dsplit(2)", A234), ("x.unbind()", A34),
    ("x.unbind(-1)", A34), ("x.split(6)", A6), ("x.unbind()[1]", A34), ("x.split(2)[0]", A34),
    ("x.clone()", A34), ("x.t().clone()", A34), ("x.t().contiguous()", A34), ("x.contiguous()", A34),
    ("x[1]", A34), ("x[-1, 1]", A34), ("x[1:, ::2]", A34), ("x[..., 1]", A234), ("x[:, None, 2]", A34),
    ("x[None, ..., None]", A34), ("x[1:1]", A34), ("x[1, 2, 3]", A234),
    ("torch.atleast_1d(x)", A0), ("torch.atleast_2d(x)", A6), ("torch.atleast_3d(x)", A34),
    ("torch.atleast_3d(x)", A6),
]  # fmt: skip

COPIES = [
    ("x.flip(0)", A34), ("x.flip(0, 1)", A234), ("x.flip((1,))", A34), ("torch.flip(x, dims=(0, 2))", A234),
    ("x.fliplr()", A34), ("x.flipud()", A34), ("x.roll(1)", A34), ("x.roll(-1, 0)", A34),
    ("x.roll((1, 2), (0, 1))", A34), ("x.roll(shifts=5, dims=1)", A34), ("x.rot90()", A34),
    ("x.rot90(2)", A34), ("x.rot90(-1, (1, 2))", A234), ("x.rot90(3, [0, 2])", A234),
    ("x.repeat(2)", A6), ("x.repeat(2, 3)", A34), ("x.repeat(2, 1, 3)", A34),
    ("x.tile(2)", A34), ("x.tile((2, 2))", A6), ("x.tile(2, 2)", A0), ("x.tril()", A34),
    ("x.tril(1)", A234), ("x.triu(-1)", A34), ("x.triu(diagonal=2)", A234), ("x.diag()", A34),
    ("x.diag(1)", A34), ("x.diag()", A6), ("x.diag(-1)", A6), ("x.diag_embed()", A34),
    ("x.diag_embed(1, 0, 2)", A34), ("x.diag_embed(1, 2, 0)", A34), ("x.diagflat()", A34),
    ("x.diagflat(2)", A6), ("torch.nn.functional.pad(x, (1, 2))", A34),
    ("torch.nn.functional.pad(x, (1, 2, 0, 1), value=3)", A34),
    ("torch.nn.functional.pad(x, (-1, 1))", A34), ("torch.nn.functional.pad(x, (0, 0, -1, -1))", A34),
    ("torch.nn.functional.pad(x, (2, 1), 'reflect')", A34),
    ("torch.nn.functional.pad(x, (2, 1), 'replicate')", A34),
    ("torch.nn.functional.pad(x, (2, 1), 'circular')", A34),
    ("torch.nn.functional.pad(x, (1, 2, 1, 0), 'reflect')", A234),
    ("torch.nn.functional.pad(x, (1, 2, 1, 0), 'replicate')", A234),
    ("torch.nn.functional.pad(x, (1, 2, 1, 0), 'circular')", A1314),
    ("torch.nn.functional.pad(x, (1, 0, 1, 1, 1, 1), 'replicate')", real(1, 2, 2, 3)),
    ("torch.combinations(x)", A6), ("torch.combinations(x, 3)", A6),
    ("torch.combinations(x, 2, True)", A6),
]  # fmt: skip

PAIRS = [
    ("torch.cat([x, y])", A34, real(2, 4)), ("torch.cat((x, y, x), 1)", A34, real(3, 2)),
    ("torch.cat([x, y], dim=-1)", A234, real(2, 3, 1)), ("torch.concat([x, y])", A6, real(0)),
    ("torch.cat([y, x])", A34, real(0)), ("torch.stack([x, y])", A34, A34 + 1),
    ("torch.stack([x, y, x], dim=-1)", A34, A34 + 1), ("torch.stack([x, y], 1)", A34, A34 + 1),
    ("torch.stack([x, y])", A0, real()), ("torch.hstack([x, y])", A34, real(3, 1)),
    ("torch.hstack([x, y])", A6, A0), ("torch.vstack([x, y])", A34, real(4)),
    ("torch.dstack([x, y])", A34, A34 + 1), ("torch.column_stack([x, y])", real(3), A34),
    ("torch.row_stack([x, y])", A34, A34), ("torch.block_diag(x, y)", A34, A6),
    ("torch.block_diag(x, y, x)", A0, A34), ("torch.kron(x, y)", real(2, 2), A34),
    ("torch.kron(x, y)", real(2), A34), ("torch.kron(x, y)", A234, real(3)),
    ("torch.broadcast_tensors(x, y)", real(3, 1), real(4)),
    ("torch.meshgrid(x, y, indexing='ij')", real(3), real(2)),
    ("torch.meshgrid(x, y, indexing='xy')", real(3), real(2)),
    ("torch.cartesian_prod(x, y)", real(3), real(2)),
    ("x.slice_scatter(y, 0, 1, 3)", A34, real(2, 4)), ("x.slice_scatter(y, 1, 0, 4, 2)", A34, real(3, 2)),
    ("x.slice_scatter(y, 1, -3, -1)", A34, real(3, 2)), ("x.select_scatter(y, 1, -1)", A34, real(3)),
    ("x.diagonal_scatter(y)", A34, real(3)), ("x.diagonal_scatter(y, -1)", A34, real(2)),
    ("x.diagonal_scatter(y, 1, 2, 0)", A234, real(3, 1)),
]  # fmt: skip


def run(code: str):
    """Return the function of (library, x, y) that a line of code is."""
    return lambda lib, x, y=None: eval(code, {"torch": lib, "x": x, "y": y})


@pytest.mark.parametrize("code, x", VIEWS + COPIES)
def test_values_and_derivatives(oracle, device, code, x):
    compare(oracle, device, run(code), x, order=2 if x.size and device == "cpu" else 1)


@pytest.mark.parametrize("code, x, y", PAIRS)
def test_joins(oracle, device, code, x, y):
    compare(oracle, device, run(code), x, y, order=2 if device == "cpu" else 1)


@pytest.mark.parametrize("code, x", VIEWS)
def test_views_have_pytorchs_strides(oracle, device, code, x):
    theirs = flat(run(code)(oracle, oracle.tensor(x)))
    ours = flat(run(code)(torch, torch.tensor(x, device=device)))
    if code == "x.t().clone()" and device != "cpu":
        return  # arrays that are values have no strides to keep
    for a, b in zip(ours, theirs, strict=True):
        assert a.is_contiguous() == b.is_contiguous()
        if x.size:
            significant = [n != 1 for n in a.shape]
            strides = zip(significant, a.stride(), b.stride(), strict=True)
            assert all(s == t for keep, s, t in strides if keep)
            if a.numel():
                assert a.storage_offset() == b.storage_offset()


@pytest.mark.parametrize("code, x", [c for c in VIEWS if "combin" not in c[0]])
def test_writes_through_views_reach_the_base(oracle, device, code, x):
    found = []
    for lib, dev in ((torch, device), (oracle, "cpu")):
        base = lib.tensor(x, device=dev)
        part = flat(run(code)(lib, base))[-1]
        try:
            part.mul_(2)
            part.add_(lib.tensor(np.arange(float(part.numel())).reshape(part.shape), device=dev))
        except RuntimeError as error:
            assert "single memory location" in str(error)
            found.append(None)
            continue
        found.append((base.cpu().numpy(), part.cpu().numpy()))
    if found[1] is not None and "unfold" not in code and "as_strided((2, 3)" not in code:
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("code, x", VIEWS + COPIES)
def test_node_names(oracle, code, x):
    names = []
    for lib in (torch, oracle):
        out = flat(run(code)(lib, lib.tensor(x).requires_grad_()))[0]
        names.append(None if out.grad_fn is None else out.grad_fn.name())
    composite = ("circular", "rot90", "combinations", "vander", "diagflat", "x.ravel", "x.diag()",
                 "x.diag(1)")  # fmt: skip
    if not any(word in code for word in composite):
        assert names[0] == names[1]


ERRORS = [
    ("x.view(5)", A34), ("x.t().view(12)", A34), ("x.view(-1, -1)", A34), ("x.view(-2, 6)", A34),
    ("x.reshape(7, -1)", A34), ("x.view(-1, 0)", A03), ("x.expand(2, 4)", A34), ("x.expand(4)", A34),
    ("x.expand(-1, 3, 4)", A34), ("x.permute(0)", A34), ("x.permute(0, 0)", A34),
    ("x.permute(0, 5)", A34), ("x.select(0, 9)", A34), ("x.select(0, 0)", A0),
    ("x.narrow(0, 2, 5)", A34), ("x.narrow(0, 0, -1)", A34), ("x.unflatten(0, (2, 2))", A34),
    ("x.squeeze(5)", A34), ("x.unsqueeze(4)", A34), ("x.diagonal(0, 0, 0)", A34),
    ("x.unfold(0, 9, 1)", A34), ("x.unfold(0, 1, 0)", A34), ("x.movedim((0, 0), (0, 1))", A34),
    ("x.t()", A234), ("x.mT", A6), ("x.adjoint()", A6), ("x.H", A234), ("x.flatten(1, 0)", A34),
    ("x.split(0)", A34), ("x.split(-1)", A34), ("x.split([1, 1])", A34), ("x.chunk(0)", A34),
    ("x.tensor_split(0)", A34), ("x.hsplit(3)", A34), ("x.vsplit(2)", A6), ("x.unbind(3)", A34),
    ("x.as_strided((9, 9), (1, 1))", A34), ("x.as_strided((2,), (1, 1))", A34),
    ("torch.cat([x, x[0]])", A34), ("torch.cat([x, x[:, :2]])", A34), ("torch.stack([x, x[0]])", A34),
    ("torch.stack([])", A34), ("torch.cat([x, 1])", A34), ("torch.cat([x.sum(), x.sum()])", A34),
    ("x.flip(0, 0)", A34), ("x.roll((1, 2))", A34), ("x.fliplr()", A6), ("x.rot90(1, (0, 0))", A34),
    ("x.repeat(2)", A34), ("x.tril()", A6), ("x.diag()", A234), ("x.diag_embed(0, 1, 1)", A6),
    ("torch.nn.functional.pad(x, (1,))", A34), ("torch.nn.functional.pad(x, (1, 1, 1, 1, 1, 1))", A34),
    ("torch.nn.functional.pad(x, (4, 1), 'reflect')", A34), ("x.view(torch.float16)[:3].view(torch.int64)", real(3)),
    ("torch.broadcast_tensors(x, x.view(4, 3))", A34), ("torch.meshgrid(x)", A34),
    ("x.slice_scatter(x, 0, 1, 2)", A34), ("x.select_scatter(x, 0, 1)", A34), ("x[::-1]", A34),
    ("torch.view_as_complex(x)", A34), ("torch.view_as_real(x)", A34),
]  # fmt: skip


@pytest.mark.parametrize("code, x", ERRORS)
def test_errors_are_pytorchs(oracle, device, code, x):
    with pytest.raises(Exception) as theirs:
        run(code)(oracle, oracle.tensor(x))
    with pytest.raises(type(theirs.value)) as ours:
        run(code)(torch, torch.tensor(x, device=device))
    key = str(theirs.value).split(".")[0].split("\n")[0][:24]
    assert key.split(":")[0].split("(")[0] in str(ours.value)


@pytest.mark.parametrize(
    "code, dtype",
    [("x.view(torch.int32)", "float32"), ("x.view(torch.uint8)", "float32"),
     ("x.view(torch.int64)", "float32"), ("x.view(torch.bool)", "uint8"),
     ("x.view(torch.float32)", "complex64"), ("x.view(torch.complex64)", "float32"),
     ("x.view(torch.float64)", "int16"), ("x.view(torch.float32)", "float32"),
     ("x.view(torch.int16)[0]", "float64")],
)  # fmt: skip
def test_view_as_other_dtype(oracle, device, code, dtype):
    x = np.arange(16).reshape(2, 8) % 2 if "bool" in code else np.arange(16).reshape(2, 8)
    ours = run(code)(torch, torch.tensor(x.astype(dtype), device=device))
    theirs = run(code)(oracle, oracle.tensor(x.astype(dtype)))
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_array_equal(ours.cpu().numpy(), theirs.numpy())


@pytest.mark.parametrize(
    "code", ["torch.view_as_complex(x)", "torch.view_as_real(torch.view_as_complex(x))"]
)
def test_complex_views(oracle, device, code):
    compare(oracle, device, run(code), real(3, 2))
    compare(oracle, device, run(code), real(2))


@pytest.mark.parametrize("pair", [("float32", "float64"), ("int64", "float32"), ("bool", "int8")])
@pytest.mark.parametrize("code", ["torch.cat([x, y])", "torch.stack([x, y])"])
def test_joins_promote(oracle, device, code, pair):
    arrays = [np.array([[0, 1], [1, 1]]).astype(d) for d in pair]
    compare(oracle, device, run(code), *arrays, order=1, tol=1e-6)


def test_detach_shares_memory_and_is_not_followed(device):
    x = torch.ones(3, device=device, requires_grad=True)
    y = x * 2
    d = y.detach()
    assert not d.requires_grad
    d[0].add_(5)
    assert y.tolist() == [7, 2, 2]
    assert not d.requires_grad and y.requires_grad


def test_expanded_tensors_cannot_be_written(device):
    x = torch.zeros(3, 1, device=device).expand(3, 4)
    with pytest.raises(RuntimeError, match="single memory location"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="single memory location"):
        x[:] = 1


def test_a_write_to_a_row_of_an_expanded_tensor(device):
    base = torch.tensor([[1.0, 2.0, 3.0]], device=device)
    base.expand(4, 3)[2].mul_(10)
    assert base.tolist() == [[10, 20, 30]]


def test_indices_and_starts_are_data_so_that_a_loop_compiles_once():
    jax = pytest.importorskip("jax")
    compiled = []
    x = torch.arange(30.0, device="jax").view(5, 6)

    def body(i: int) -> float:
        y = x.clone()
        y[i] = y[i : i + 1].sum()
        y[:, i] = 1.5 * i
        return (y[i, i] + x.narrow(1, i, 2).sum() + x[torch.tensor(i, device="jax")][0]).item()

    body(0)
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *args, **kwargs: compiled.append(name) if "compile" in name else None
    )
    try:
        found = [body(i) for i in range(1, 5)]
    finally:
        jax.monitoring.clear_event_listeners()
    assert len(found) == 4 and not compiled


def test_gather_takes_an_empty_index_of_any_number_of_dimensions(device):
    x = torch.ones(3, 4, device=device, requires_grad=True)
    out = x.gather(0, torch.empty(2, 0, 5, dtype=torch.int64, device=device))
    assert out.shape == (2, 0, 5)
    out.sum().backward()
    assert not x.grad.any()


@pytest.mark.parametrize("offset", [0, 3])
def test_as_strided_scatter(oracle, device, offset):
    x, y = real(3, 4), real(2, 2)
    ours = torch.as_strided_scatter(
        torch.tensor(x, device=device), torch.tensor(y, device=device), (2, 2), (1, 4), offset
    )
    theirs = oracle.as_strided_scatter(oracle.tensor(x), oracle.tensor(y), (2, 2), (1, 4), offset)
    np.testing.assert_array_equal(ours.cpu().numpy(), theirs.numpy())


def test_as_strided_scatter_has_no_gradient_where_it_writes(device):
    # PyTorch 2.13 gives the complement of this as the gradient of the first argument
    x = torch.zeros(3, 4, device=device, requires_grad=True)
    y = torch.zeros(2, 2, device=device, requires_grad=True)
    torch.as_strided_scatter(x, y, (2, 2), (1, 4)).sum().backward()
    assert x.grad.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]]
    assert y.grad.tolist() == [[1, 1], [1, 1]]


IN_PLACE = [
    "x.t_()", "x.transpose_(0, 1)", "x.unsqueeze_(0)", "x.unsqueeze_(-1).squeeze_(-1)", "x.swapaxes_(0, 1)",
    "x[:1].squeeze_(0)", "x.fill_diagonal_(5)", "x.t().fill_diagonal_(2)", "x.repeat(4, 1).fill_diagonal_(3, wrap=True)", "x[0].unsqueeze_(0)", "x.as_strided_((2, 2), (2, 1))",
]  # fmt: skip


@pytest.mark.parametrize("code", IN_PLACE)
def test_view_ops_in_place(oracle, device, code):
    def function(lib, x):
        y = x * 1
        z = eval(code, {"x": y})
        z += 1
        return y * 1, z * 1

    compare(oracle, device, function, real(2, 3), order=2 if device == "cpu" else 1)


def test_view_ops_in_place_refuse_what_they_cannot_keep(device):
    x = torch.zeros(2, 3, device=device)
    row = x[0]
    with pytest.raises(NotImplementedError, match="has views"):
        x.t_()
    assert row.shape == (3,)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        torch.zeros(2, 3, device=device, requires_grad=True).t_()
