"""PyTorch's building blocks, copies of views, and functions over lists of tensors."""

from __future__ import annotations

import pytest

import multitorch as torch
from multitorch.ops import aten


def test_packets():
    x = torch.ones(2)
    assert aten.add.Tensor(x, 1).tolist() == torch.ops.aten.add(x, 1).tolist() == [2, 2]
    assert aten.slice.Tensor(torch.arange(4), 0, 1, 3).tolist() == [1, 2]
    with pytest.raises(AttributeError, match="no op 'surely_not'"):
        aten.surely_not  # noqa: B018


def test_copies_share_nothing(device):
    x = torch.arange(4.0, device=device)
    copies = [
        torch.view_copy(x, (2, 2)), torch.expand_copy(x, (1, 4)), torch.slice_copy(x, 0, 1),
        torch.unsqueeze_copy(x, 0), *torch.split_copy(x, 2), *torch.unbind_copy(x),
    ]  # fmt: skip
    before = [t.tolist() for t in copies]
    x.zero_()
    assert [t.tolist() for t in copies] == before
    out = torch.empty(2, 2, device=device)
    assert torch.t_copy(torch.ones(2, 2, device=device), out=out) is out


def test_native_norms_give_their_statistics(device):
    x = torch.tensor([[1.0, 3.0], [2.0, 6.0]], device=device)
    out, mean, rstd = torch.native_layer_norm(x, (2,), None, None, 0.0)
    assert mean.tolist() == [[2], [4]] and rstd.tolist() == [[1], [0.5]]
    running = torch.zeros(2, device=device), torch.ones(2, device=device)
    out, mean, rstd = torch.native_batch_norm(x, None, None, *running, True, 0.5, 0.0)
    assert mean.tolist() == [1.5, 4.5] and running[0].tolist() == [0.75, 2.25]
    out, mean, rstd = torch.native_group_norm(x, None, None, 2, 2, 1, 1, 0.0)
    assert mean.tolist() == [[2], [4]]


def test_layer_norm_with_a_bias_alone(device):
    x = torch.tensor([[1.0, 3.0]], device=device, requires_grad=True)
    bias = torch.zeros(1, 2, device=device, requires_grad=True)
    y = torch.nn.functional.layer_norm(x, (1, 2), None, bias)
    (y * torch.tensor([[1.0, 2.0]], device=device)).sum().backward()
    assert bias.grad.tolist() == [[1, 2]]


def test_foreach(device):
    xs = [torch.ones(2, device=device), torch.zeros(1, device=device)]
    assert [t.tolist() for t in torch._foreach_add(xs, xs, alpha=2)] == [[3, 3], [0]]
    assert [t.tolist() for t in torch._foreach_mul(xs, [2, 3])] == [[2, 2], [0]]
    assert [t.tolist() for t in torch._foreach_maximum(xs, 0.5)] == [[1, 1], [0.5]]
    assert [t.tolist() for t in torch._foreach_addcmul(xs, xs, xs, 2)] == [[3, 3], [0]]
    assert [t.item() for t in torch._foreach_norm(xs, 1)] == [2, 0]
    assert torch._foreach_add_(xs, 1) is xs and xs[0].tolist() == [2, 2]
    torch._foreach_lerp_(xs, [t + 2 for t in xs], 0.5)
    assert [t.tolist() for t in xs] == [[3, 3], [2]]
    torch._foreach_zero_(xs)
    assert [t.tolist() for t in xs] == [[0, 0], [0]]


def test_foreach_refuses():
    xs = [torch.ones(1), torch.ones(1)]
    with pytest.raises(RuntimeError, match="at least one tensor"):
        torch._foreach_add([], 1)
    with pytest.raises(RuntimeError, match="same number of elements as scalar list"):
        torch._foreach_add(xs, [1.0])
    with pytest.raises(RuntimeError, match="got 2 and 1"):
        torch._foreach_add(xs, xs[:1])
    with pytest.raises(TypeError, match="must be tuple of Tensors, not Tensor"):
        torch._foreach_abs(torch.ones(2))
