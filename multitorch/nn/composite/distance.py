"""Distances, similarities and normalization by a norm."""

from __future__ import annotations

from multitorch.ops.join import broadcast_tensors, cat
from multitorch.tensor import Tensor


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """Return x / max(‖x‖_p, eps), the norm taken along ``dim``."""
    norm = input.norm(p, dim, keepdim=True).clamp(min=eps)
    result = input / norm
    return result if out is None else out.copy_(result)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return x1 · x2 / (max(‖x1‖, eps) max(‖x2‖, eps)) along ``dim``."""
    if x1.shape != x2.shape:  # the norms are those of the broadcast vectors
        x1, x2 = broadcast_tensors(x1, x2)
    return (_unit(x1, dim, eps) * _unit(x2, dim, eps)).sum(dim)


def _unit(x: Tensor, dim: int, eps: float) -> Tensor:
    norm = x.norm(2, dim, keepdim=True)
    # The floor is a constant to autograd, so that a zero vector gets a finite gradient.
    return x / (norm + (norm.detach().clamp(min=eps) - norm.detach()))


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return ‖x1 - x2 + eps‖_p along the last dimension."""
    return (x1 - x2 + eps).norm(p, max(x1.dim(), x2.dim()) - 1, keepdim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Return the distances between all pairs of rows, upper triangle row by row."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    count = input.size(0)
    if count < 2:
        return input.new_empty([0])
    rows = [input[i + 1 :] - input[i] for i in range(count - 1)]
    return cat(rows, 0).norm(p, 1)
