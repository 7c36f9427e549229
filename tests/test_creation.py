"""Making tensors, against PyTorch: values, dtypes and errors."""

from __future__ import annotations

import numpy as np
import pytest

import multitorch as torch

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::UserWarning")]

DATA = [
    "1", "2.5", "True", "1j", "[]", "[[]]", "[1, 2]", "[1, 2.5]", "[True, 2]", "[True, False]", "[1, 1j]",
    "[[1, 2], [3, 4]]", "((1.0,), (2,))", "[[[1]]]", "np.float64(1)", "np.float32(1)", "np.int32(3)",
    "np.bool_(True)", "[np.float64(1)]", "[np.float32(1), 2]", "[np.int32(3), 4]", "[np.float16(1), 1.5]",
    "np.arange(3)", "np.arange(3.0)", "np.zeros((2, 0))", "np.array(2.5)", "np.arange(3, dtype=np.int8)",
    "[np.array([1.0, 2.0]), np.array([3.0, 4.0])]", "range(3)", "np.arange(6).reshape(2, 3).T",
    "[torch.tensor(1), torch.tensor(2.5)]", "[[torch.tensor(1.0), 2]]", "np.complex64(1j)", "[1e400, float('nan')]",
    "[2**40, 1]", "[np.uint8(5)]", "np.zeros(2, bool)", "[[], []]", "[(1, 2), [3, 4]]",
]  # fmt: skip
CREATIONS = [
    "zeros(2, 3)", "zeros((2, 3))", "zeros([2])", "zeros(())", "zeros(size=(2, 1))", "ones(2, dtype=torch.int32)",
    "full((2, 3), 7)", "full((2,), 2.5)", "full((), True)", "full([1, 2], 1j)", "full((2,), 3, dtype=torch.float64)",
    "full((2,), 2.7, dtype=torch.int64)", "arange(5)", "arange(5.0)", "arange(2, 5)", "arange(1, 2, 0.3)", "arange(5, 0, -2)",
    "arange(0)", "arange(3, dtype=torch.float16)", "arange(0, 10, 3, dtype=torch.uint8)", "arange(0.5, 3.5, dtype=torch.int64)",
    "arange(0.0, -8.5, -4.0, dtype=torch.int16)", "arange(0, 3, 0.5, dtype=torch.int32)", "arange(0.5, 3.1, 1.5, dtype=torch.int64)",
    "linspace(4.3, -3, 9, dtype=torch.int64)", "logspace(4.3, 1.2, 4, dtype=torch.int32)",
    "arange(start=1, end=4)", "arange(end=4)", "arange(1, 4, step=2)", "arange(0, 1, 0.1)",
    "linspace(0, 1, 5)", "linspace(3, -1, 4)", "linspace(0, 10, 1)", "linspace(0, 1, 0)", "linspace(-3, 3, 7, dtype=torch.float64)",
    "linspace(0, 10, 4, dtype=torch.int64)", "linspace(start=0, end=1, steps=100)", "linspace(0, 1j, 3)", "logspace(0, 2, 3)",
    "logspace(-1, 1, 5, 2)", "logspace(0, 1, 3, base=3, dtype=torch.float64)", "eye(3)", "eye(2, 4)", "eye(3, 2, dtype=torch.int64)",
    "eye(0)", "tril_indices(3, 4)", "tril_indices(3, 3, -1)", "triu_indices(3, 4, 1)", "triu_indices(4, 3)",
    "scalar_tensor(2)", "zeros_like(torch.ones(2, 3))", "ones_like(torch.zeros(2, dtype=torch.int8))",
    "full_like(torch.ones(2), 3)", "zeros_like(torch.ones(2), dtype=torch.bool)", "ones(2).new_zeros(3)", "ones(2).new_zeros((3, 1))",
    "ones(2).new_ones(2, dtype=torch.int64)", "ones(2).new_full((2,), 3)", "ones(2).new_tensor([1, 2])",
    "ones(2).new_tensor(5)", "vander(torch.tensor([1, 2, 3]))", "vander(torch.tensor([1.0, 2.0]), 3, True)", "range(0, 3)",
    "meshgrid(torch.arange(2), torch.arange(3), indexing='xy')[0]", "empty(2, 0)", "empty((0,))", "asarray([1, 2])",
    "as_tensor([1.5])", "as_tensor(np.arange(3))", "asarray(np.arange(3.0), dtype=torch.float32)",
    "from_numpy(np.arange(3))", "frombuffer(bytearray(b'abcdefgh'), dtype=torch.int32)",
    "frombuffer(bytearray(b'abcdefgh'), dtype=torch.uint8, count=3, offset=2)", "tensor([1, 2], dtype=torch.float64)",
    "tensor([1.7, -2.3], dtype=torch.int64)", "tensor([0.0, 2.0], dtype=torch.bool)", "tensor([1, 2], dtype=float)",
    "tensor([300, -1], dtype=torch.int64)", "zeros(1, 2, dtype=torch.complex64)",
]  # fmt: skip


def same(ours, theirs) -> None:
    assert str(ours.dtype) == str(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(
        ours.detach().cpu().numpy(), theirs.detach().numpy(), rtol=2e-7, atol=1e-7
    )


@pytest.mark.parametrize("data", DATA)
def test_tensor(oracle, device, data):
    with np.errstate(all="ignore"):
        ours, theirs = (eval(data, {"torch": lib, "np": np}) for lib in (torch, oracle))
        same(torch.tensor(ours, device=device), oracle.tensor(theirs))


@pytest.mark.parametrize("call", CREATIONS)
def test_creation(oracle, device, call):
    host_only = call.startswith(("from_numpy", "frombuffer"))
    with torch.device("cpu" if host_only else device):
        ours = eval("torch." + call, {"torch": torch, "np": np})
    same(ours, eval("torch." + call, {"torch": oracle, "np": np}))
    if not host_only:
        assert ours.device.type == device


ERRORS = [
    "tensor([[1, 2], [3]])", "tensor('a')", "tensor([1, 'a'])", "tensor([[1], 2])", "tensor([1], requires_grad=True)",
    "zeros(-1)", "arange(0, 1, -1)", "arange(0, 1, 0)", "arange(float('inf'))", "linspace(0, 1, -1)", "eye(-1)", "zeros(1.5)",
    "full((2,), 'a')", "from_numpy(3)", "from_numpy(np.array(['a']))", "from_numpy(np.arange(3)[::-1])",
    "frombuffer(bytearray(b'abc'), dtype=torch.int32)", "tensor(None)", "ones(2, requires_grad=True, dtype=torch.int64)",
    "full((2,), 300, dtype=torch.int8)", "tensor([1, None])", "asarray([1], copy=False)",
]  # fmt: skip


@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_pytorchs(oracle, call):
    with pytest.raises(Exception) as theirs:
        eval("torch." + call, {"torch": oracle, "np": np})
    with pytest.raises(type(theirs.value)):
        eval("torch." + call, {"torch": torch, "np": np})


def test_requires_grad_makes_a_leaf(device):
    x = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
    assert x.is_leaf and x.requires_grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    assert torch.zeros(2, device=device, requires_grad=True).requires_grad
    assert torch.empty_like(x, requires_grad=True).is_leaf


def test_memory_is_shared_where_pytorch_shares_it():
    a = np.zeros(3)
    for make in (torch.from_numpy, torch.as_tensor, torch.asarray, torch.from_dlpack):
        t = make(a)
        t[1] = 5
        assert a[1] == 5
        a[1] = 0
        assert t[1].item() == 0
    t = torch.tensor(a)
    t[0] = 9
    assert a[0] == 0
    x = torch.ones(2)
    assert torch.as_tensor(x) is x
    assert torch.asarray(x) is x


def test_tensor_of_a_tensor_warns_and_copies(device):
    x = torch.ones(2, device=device)
    with pytest.warns(UserWarning, match="clone"):
        y = torch.tensor(x)
    y[0] = 5
    assert x.tolist() == [1, 1] and y.device == x.device


def test_default_dtype_and_device(device):
    torch.set_default_dtype(torch.float64)
    assert torch.tensor([1.5], device=device).dtype is torch.float64
    assert torch.zeros(1, device=device).dtype is torch.float64
    assert torch.tensor(1j, device=device).dtype is torch.complex128
    assert torch.arange(1.0, device=device).dtype is torch.float64


def test_out(device):
    x = torch.empty(0, device=device)
    torch.arange(3, out=x)
    assert x.tolist() == [0, 1, 2] and x.dtype is torch.float32
    y = torch.zeros(2, device=device)
    torch.ones(2, out=y)
    torch.cat([y, y], out=x)
    assert x.tolist() == [1, 1, 1, 1]
