"""Tensors by their memory: resize_, strides chosen by the caller, and out= that shares memory."""

from __future__ import annotations

import pytest

import multitorch as torch


def test_resize_keeps_memory_and_views(device):
    x = torch.arange(6.0, device=device)
    part, matrix = x[1:4], x.view(2, 3)
    assert x.resize_(2, 2) is x
    x.mul_(10)
    assert x.tolist() == [[0, 10], [20, 30]]
    assert matrix.tolist() == [[0, 10, 20], [30, 4, 5]]
    part.add_(1)
    assert x.tolist() == [[0, 11], [21, 31]]
    assert x.resize_(6).tolist() == [0, 11, 21, 31, 4, 5]
    assert part.resize_(2, 2).tolist() == [[11, 21], [31, 4]] and part.storage_offset() == 1


def test_resize_beyond_the_memory(device):
    x = torch.arange(3.0, device=device)
    x.resize_(5)
    assert x.shape == (5,) and x[:3].tolist() == [0, 1, 2]
    assert torch.resize_as_(x, torch.zeros(2, 2)).shape == (2, 2)
    assert x.resize_(0).shape == (0,)


def test_resize_refuses():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        x.resize_(3)
    with pytest.raises(RuntimeError, match="negative dimension"):
        torch.ones(2).resize_(-3)


def test_strides_chosen(device):
    t = torch.empty_permuted((2, 3, 4), (2, 0, 1), device=device)
    assert t.shape == (2, 3, 4) and t.stride() == (3, 1, 6)
    t = torch.ones(2, device=device).new_empty_strided((2, 2), (1, 2))
    assert t.stride() == (1, 2) and t.device.type == device.partition(":")[0]
    with pytest.raises(RuntimeError, match="Duplicate dim"):
        torch.empty_permuted((2, 2), (0, 0))


def test_out_may_be_an_operand_but_not_overlap(device):
    x = torch.arange(6.0, device=device)
    assert torch.add(x, 1, out=x) is x and x.tolist() == [1, 2, 3, 4, 5, 6]
    torch.add(x[:3], 1, out=x[3:])
    assert x.tolist() == [1, 2, 3, 2, 3, 4]
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        torch.add(x[:5], 1, out=x[1:])
    with pytest.raises(RuntimeError, match="refers to a single memory location"):
        torch.add(x, 1, out=torch.zeros(1, device=device).expand(6))
    assert x.tolist() == [1, 2, 3, 2, 3, 4]


@pytest.mark.parametrize(
    "call",
    [
        lambda x, i: torch.gather(x, 0, i, out=x),
        lambda x, i: torch.take(x, i, out=x),
        lambda x, i: torch.index_select(x, 0, i, out=x[1:]),
        lambda x, i: torch.masked_select(x, x > 1, out=x),
        lambda x, i: torch.cat([x, x], out=x),
        lambda x, i: torch.kthvalue(x, 1, out=(x, i)),
    ],
)
def test_out_that_is_read_from(device, call):
    x, i = torch.arange(3.0, device=device), torch.tensor([2, 1, 0], device=device)
    with pytest.raises(RuntimeError, match="single memory location"):
        call(x, i)
    assert x.tolist() == [0, 1, 2]
