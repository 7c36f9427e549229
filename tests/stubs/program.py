"""What type checkers must make of a program; the last lines are mistakes that they must report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import multitorch as torch
from multitorch import Tensor, nn

F = nn.functional
a, b = torch.ones(2, 3), torch.zeros((2, 3), dtype=torch.float32, device="cpu")
image = a.reshape(1, 1, 2, 3)

assert_type(a, Tensor)
assert_type(a + b, Tensor)
assert_type(2 * a, Tensor)
assert_type(-a, Tensor)
assert_type(a @ b.T, Tensor)
assert_type(a == b, Tensor)
assert_type(a[0], Tensor)
assert_type([row for row in a], list[Tensor])

assert_type(torch.add(a, b, alpha=2), Tensor)
assert_type(torch.where(a > 0, a, 0.0), Tensor)
assert_type(torch.randint(10, (2, 3)), Tensor)
assert_type(torch.max(a, b), Tensor)
assert_type(torch.topk(a, 2).indices, Tensor)
assert_type(torch.unique(a), Tensor)
assert_type(torch.unique(a, return_counts=True), tuple[Tensor, Tensor])
assert_type(torch.nonzero(a, as_tuple=True), tuple[Tensor, ...])

assert_type(a.sum(0), Tensor)
assert_type(a.max(), Tensor)
assert_type(a.max(dim=0).values, Tensor)
assert_type(a.view(-1), Tensor)
assert_type(a.view((3, 2)), Tensor)
assert_type(a.view(torch.int32), Tensor)
assert_type(a.to("cpu"), Tensor)
assert_type(a.to(torch.float64), Tensor)
assert_type(a.split(1), tuple[Tensor, ...])
assert_type(a.add_(1), Tensor)

assert_type(a.shape, torch.Size)
assert_type(a.shape[0], int)
assert_type(a.size(0), int)
assert_type(a.dtype, torch.dtype)
assert_type(a.device, torch.device)
assert_type(a.T, Tensor)
assert_type(a.grad, Tensor | None)
assert_type(torch.float32, torch.dtype)
assert_type(torch.pi, float)
assert_type(torch.manual_seed(0), torch.Generator)

assert_type(F.relu(a), Tensor)
assert_type(F.max_pool2d(image, 2), Tensor)
assert_type(F.max_pool2d(image, 2, return_indices=True), tuple[Tensor, Tensor])
assert_type(nn.Linear(3, 2)(a), Any)
assert_type(nn.Parameter(a).detach_(), nn.Parameter)
assert_type(torch.linalg.svd(a).S, Tensor)
assert_type(torch.fft.rfft(a), Tensor)
assert_type(torch.special.expit(a), Tensor)

if TYPE_CHECKING:
    torch.ad(a, b)  # type: ignore[attr-defined]
    a.sumup()  # type: ignore[attr-defined]
    torch.sum("a")  # type: ignore[arg-type]
    a.sum(dims=0)  # type: ignore[call-arg]
