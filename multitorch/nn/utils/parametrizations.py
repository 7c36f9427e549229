"""Known parametrizations: weight norm, spectral norm, orthogonal matrices."""

from __future__ import annotations

from typing import Any

from multitorch import dtypes
from multitorch.autograd import no_grad
from multitorch.nn import functional as F
from multitorch.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from multitorch.nn.module import Module
from multitorch.nn.utils.parametrize import register_parametrization
from multitorch.ops.ranges import eye
from multitorch.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def norm_except_dim(v: Tensor, dim: int | None) -> Tensor:
    """Return the norm over all dimensions but one, these kept; over all of them for None or -1."""
    if dim is None or dim == -1:
        return v.norm()
    dims = [d for d in range(v.dim()) if d != dim % v.dim()]
    return v.norm(2, dims, keepdim=True) if dims else v.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Split a weight into its length `original0` and its direction `original1`.

    `w = g v / |v|`, the norms being taken over all dimensions but `dim`.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def read_old(state_dict: Any, prefix: str, *rest: Any) -> None:
        """Take the state of the older function of this name."""
        stem = f"{prefix}parametrizations.{name}.original"
        old = [f"{prefix}{name}_{part}" for part in "gv"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{stem}{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(read_old)
    return module


class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[-{ndim}, {ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                matrix = self._matrix(weight)
                rows, columns = matrix.shape
                u = matrix.new_empty(rows).normal_(0, 1)
                v = matrix.new_empty(columns).normal_(0, 1)
                self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
                self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
                self._power_method(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        if self.dim != 0:
            weight = weight.movedim(self.dim, 0)
        return weight.flatten(1)

    def _power_method(self, matrix: Tensor, count: int) -> None:
        """Turn u and v towards the singular vectors of the largest singular value."""
        with no_grad():
            for _ in range(count):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._power_method(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / u.vdot(matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def _is_transposed(module: Module) -> bool:
    return isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value, which power iteration follows in training."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if _is_transposed(module) else 0
    maps = _SpectralNorm(weight, n_power_iterations, dim, eps)
    register_parametrization(module, name, maps)
    return module


# --- orthogonal ----------------------------------------------------------------------------------


def _tall(a: Tensor) -> tuple[Tensor, bool]:
    wide = a.shape[-2] < a.shape[-1]
    return (a.mT if wide else a), wide


def _orthonormal(a: Tensor) -> Tensor:
    """Return the orthogonal factor of a, its columns' signs those of R's diagonal made positive."""
    import multitorch

    q, r = multitorch.linalg.qr(a)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def _is_orthogonal(q: Tensor) -> bool:
    n, k = q.shape[-2:]
    with no_grad():
        unit = eye(k, dtype=q.dtype, device=q.device)
        eps = 10.0 * n * dtypes.finfo(q.dtype).eps
        return bool(((q.mH @ q - unit).abs() <= eps).all())


class _Orthogonal(Module):
    """Maps any matrix to one whose columns (or rows) are orthonormal."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def extra_repr(self) -> str:
        return ""

    def forward(self, X: Tensor) -> Tensor:
        import multitorch

        x, wide = _tall(X)
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            a = x.tril(-1)
            tau = 2.0 / (1.0 + (a * a).sum(-2))
            q = multitorch.linalg.householder_product(a, tau)
            q = q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            a = x.tril()
            if n != k:  # the columns that are missing do not matter
                a = multitorch.cat([a, a.new_zeros(*a.shape[:-2], n, n - k)], -1)
            a = a - a.mH
            q = multitorch.linalg.matrix_exp(a) if self._is_exponential else self._cayley(a)
            q = q[..., :k] if n != k else q
        base = getattr(self, "base", None)
        if base is not None:
            q = base @ q
        return q.mT if wide else q

    @property
    def _is_exponential(self) -> bool:
        return self.orthogonal_map == "matrix_exp"

    @staticmethod
    def _cayley(a: Tensor) -> Tensor:
        import multitorch

        unit = eye(a.shape[-1], dtype=a.dtype, device=a.device)
        return multitorch.linalg.solve(unit - a / 2, unit + a / 2)

    def right_inverse(self, Q: Tensor) -> Tensor:
        import multitorch

        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got {Q.shape}."
            )
        q, wide = _tall(Q)
        n, k = q.shape[-2:]
        if "base" not in self._buffers:
            return self._inverse_without_base(Q, q, wide)
        if n == k:
            base = q.clone() if _is_orthogonal(q) else _orthonormal(q)
        else:
            fill = multitorch.randn(*q.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)
            base = _orthonormal(multitorch.cat([q, fill], -1))
        self.base = base
        minus = multitorch.zeros_like(Q)
        minus.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return minus

    def _inverse_without_base(self, given: Tensor, q: Tensor, wide: bool) -> Tensor:
        import multitorch

        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        a, tau = multitorch.geqrf(q)
        # Q R with a diagonal of signs, which the upper triangle can hold
        a.diagonal(dim1=-2, dim2=-1).sign_()
        diagonal = a.diagonal(dim1=-2, dim2=-1)
        diagonal[tau == 0.0] *= -1
        return a.mT if wide else a


_MAPS = ("matrix_exp", "cayley", "householder")


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a weight orthogonal: Q of orthonormal columns, or rows where it is wide.

    `orthogonal_map` is "matrix_exp" or "cayley" of a skew matrix, or "householder" for a product
    of reflections. With `use_trivialization` Q is relative to a fixed first one, `base`.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.dim() < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    maps = _Orthogonal(weight, orthogonal_map, use_trivialization)
    register_parametrization(module, name, maps, unsafe=True)
    return module
