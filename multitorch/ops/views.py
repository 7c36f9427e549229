"""View ops that reshape, reorder, expand or reinterpret: their results share memory with the input.

Those that take out a part are in `multitorch.ops.parts`; `multitorch.ops.view` says how views work.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from multitorch.dtypes import dtype as DType
from multitorch.dtypes import to_dtype
from multitorch.ops import apply as dispatch
from multitorch.ops.common import wrap_dim
from multitorch.ops.op import Op
from multitorch.ops.sizes import broadcast_sizes, infer_sizes, sizes_of, view_strides
from multitorch.ops.view import apply_view, attach_untracked, member, tracked, view_op
from multitorch.size import Size

# --- declarations ---------------------------------------------------------------------------------


def _reshape_like(F: Any, base: Any, new: Any, *, shape: tuple[int, ...]) -> Any:
    return F.reshape(new, shape=tuple(base.shape))


def _reshape_grad(F: Any, g: Any, x_shape: tuple[int, ...]) -> Any:
    return F.reshape(g, shape=x_shape)


def _reshaped(x: Any, *, shape: tuple[int, ...]) -> Any:
    return shape, x.dtype


def _reshaping(name: str, node: str) -> Op:
    op = view_op(name, "x", undo=_reshape_like, kernel="reshape", node=node, shape=_reshaped)
    op.vjp(x=_reshape_grad)
    return op


_view = _reshaping("reshape", "View")
_squeeze = _reshaping("squeeze_all", "Squeeze")
_squeeze_dim = _reshaping("squeeze_dim", "SqueezeBackward1")
_squeeze_dims = _reshaping("squeeze_dims", "SqueezeBackward2")
_unsqueeze = _reshaping("unsqueeze", "Unsqueeze")
unsafe_view = Op("unsafe_view", "x", kernel="reshape", shape=_reshaped).vjp(x=_reshape_grad)


def inverse(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return the permutation that undoes `dims`.

    >>> inverse((2, 0, 1))
    (1, 2, 0)
    """
    back = [0] * len(dims)
    for i, d in enumerate(dims):
        back[d] = i
    return tuple(back)


def _permuting(name: str, node: str) -> Op:
    op = view_op(
        name,
        "x",
        undo=lambda F, base, new, *, dims: F.permute(new, dims=inverse(dims)),
        kernel="permute",
        node=node,
        shape=lambda x, *, dims: (tuple([x.shape[d] for d in dims]), x.dtype),
    )
    op.vjp(x=lambda F, g, dims: F.permute(g, dims=inverse(dims)))
    return op


_permute = _permuting("permute", "Permute")
_transpose = _permuting("transpose", "Transpose")
_t = _permuting("t", "T")


def _unexpand(F: Any, base: Any, new: Any, *, shape: tuple[int, ...]) -> Any:
    """Return the base of an expanded view: of the elements that stand for one, the changed one."""
    missing = len(shape) - len(base.shape)
    old = (1,) * missing + tuple(base.shape)
    spread = tuple([d for d, n in enumerate(old) if n != shape[d]])
    if not spread or 0 in shape:
        return F.reshape(new, shape=tuple(base.shape)) if prod(shape) else base
    kept = tuple([d for d in range(len(shape)) if d not in spread])
    order = (*kept, *spread)
    flat = (*[shape[d] for d in kept], prod([shape[d] for d in spread]))
    changed = F.ne(new, F.expand(base, shape=shape))
    changed = F.reshape(F.permute(changed, dims=order), shape=flat)
    last = len(flat) - 1
    where = F.argmax(F.cast(changed, dtype=_INT), dim=last, keepdim=True)
    picked = F.gather(F.reshape(F.permute(new, dims=order), shape=flat), where, dim=last)
    return F.reshape(picked, shape=tuple(base.shape))


_INT = to_dtype(int).numpy()

_expand = view_op("expand", "x", undo=_unexpand, shape=_reshaped)
_expand.vjp(x=lambda F, g, x_shape: F.sum_to(g, shape=x_shape))


def _dtype_shape(x: Any, *, dtype: Any, old: Any) -> Any:
    if dtype.itemsize == old.itemsize:
        return x.shape, dtype
    return (*x.shape[:-1], x.shape[-1] * old.itemsize // dtype.itemsize), dtype


_view_dtype = view_op(
    "view_dtype",
    "x",
    undo=lambda F, base, new, *, dtype, old: F.reshape(
        F.view_dtype(new, dtype=old, old=dtype), shape=tuple(base.shape)
    ),
    shape=_dtype_shape,
)
_view_dtype.nondiff()

_view_as_real = view_op(
    "view_as_real",
    "x",
    undo=lambda F, base, new: F.view_as_complex(new),
    shape=lambda x: ((*x.shape, 2), x.dtype.type(0).real.dtype),
)
_view_as_real.vjp(x=lambda F, g: F.view_as_complex(g))

_view_as_complex = view_op(
    "view_as_complex",
    "x",
    undo=lambda F, base, new: F.view_as_real(new),
    shape=lambda x: (x.shape[:-1], (x.dtype.type(0) + 1j).dtype),
)
_view_as_complex.vjp(x=lambda F, g: F.view_as_real(g))

_alias = view_op(
    "alias", "x", undo=lambda F, base, new: new, kernel="detach", shape=lambda x: (x.shape, x.dtype)
)
_alias.vjp(x=lambda F, g: g)
_detach = view_op("detach", "x", undo=lambda F, base, new: new, shape=lambda x: (x.shape, x.dtype))
_detach.nondiff()
_clone = Op("clone", "x", shape=lambda x: (x.shape, x.dtype)).vjp(x=lambda F, g: g)
_contiguous = Op(
    "contiguous", "x", node="Clone", shape=lambda x: (x.shape, x.dtype)
).vjp(x=lambda F, g: g)  # fmt: skip


# --- reshaping ------------------------------------------------------------------------------------


def _viewable(x: Any, shape: tuple[int, ...]) -> bool:
    """Whether the memory of `x` can be seen as an array of another shape without a copy."""
    if x._view is None and not x._dev.backend.mutable:
        return True
    if x.is_contiguous():
        return True
    return view_strides(x._a.shape, x.stride(), shape) is not None


_FLAT = (-1,)


def _reshaped_memory(x: Any, args: tuple) -> Any:
    """Return a view of contiguous memory at once; None where sizes need a closer look."""
    if dispatch.capturing:
        return None
    if len(args) == 1:
        kind = args[0].__class__
        if kind is tuple or kind is Size:
            args = args[0]
        elif kind is not int:
            return None
    backend = x._dev._backend
    if x._view is not None and not backend.mutable:
        return None
    try:
        a = backend.reshaped_in_place(x._a, args)
    except (TypeError, ValueError):
        return None
    # NumPy takes any negative size for -1
    if a is None or args != _FLAT and a.shape != args and min(args) < -1:
        return None
    return member(x, a, ((_view, (), {"shape": args}),))


def view(input: Any, *args: Any, dtype: Any = None, size: Any = None) -> Any:
    """Return the same memory seen with another shape or dtype.

    >>> multitorch.arange(6).view(2, -1).shape
    torch.Size([2, 3])
    """
    if dtype is None and size is None:
        found = _reshaped_memory(input, args)
        if found is not None:
            return found
    if dtype is not None or (args and args[0].__class__ is DType):
        return view_as_dtype(input, dtype or args[0])
    target = infer_sizes(sizes_of("view", (size,) if size is not None else args), input._a)
    if not _viewable(input, target):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return apply_view(_view, input, (), {"shape": target})


def reshape(input: Any, *args: Any, shape: Any = None) -> Any:
    """Return the elements in another shape: a view where the strides allow it, else a copy.

    >>> multitorch.arange(6).reshape(3, 2).tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    if shape is None:
        found = _reshaped_memory(input, args)
        if found is not None:
            return found
    target = infer_sizes(sizes_of("reshape", (shape,) if shape is not None else args), input._a)
    if _viewable(input, target):
        return apply_view(_view, input, (), {"shape": target})
    return unsafe_view(input, shape=target)


def view_as(input: Any, other: Any) -> Any:
    """View the tensor in the shape of another."""
    return view(input, tuple(other.shape))


def reshape_as(input: Any, other: Any) -> Any:
    """Reshape the tensor to the shape of another."""
    return reshape(input, tuple(other.shape))


def view_as_dtype(input: Any, dtype: Any) -> Any:
    """Return the same bytes seen as elements of another dtype."""
    new, old = to_dtype(dtype), input._dtype
    if new is old:
        return apply_view(_alias, input)
    shape = input._a.shape
    if new.itemsize != old.itemsize:
        if not shape:
            raise RuntimeError(
                f"self.dim() cannot be 0 to view {old.scalar_name} as {new.scalar_name} "
                "(different element sizes)"
            )
        if shape[-1] * old.itemsize % new.itemsize:
            raise RuntimeError(
                f"self.size(-1) must be divisible by {new.itemsize // old.itemsize} to view "
                f"{old.scalar_name} as {new.scalar_name} (different element sizes), but got "
                f"{shape[-1]}"
            )
        if input.stride()[-1] != 1:
            raise RuntimeError(
                f"self.stride(-1) must be 1 to view {old.scalar_name} as {new.scalar_name} "
                "(different element sizes)"
            )
    return apply_view(_view_dtype, input, (), {"dtype": new.numpy(), "old": old.numpy()})


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Join the dimensions from `start_dim` to `end_dim` into one.

    >>> multitorch.zeros(2, 3, 4).flatten(1).shape
    torch.Size([2, 12])
    """
    shape = input._a.shape
    start, end = wrap_dim(start_dim, len(shape)), wrap_dim(end_dim, len(shape))
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshape(input, (1,))
    if start == end:
        return input
    return reshape(input, (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]))


def ravel(input: Any) -> Any:
    """Return the tensor as a contiguous one of one dimension."""
    return reshape(contiguous(input), (-1,) if prod(input._a.shape) else (0,))


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Split one dimension into several.

    >>> multitorch.zeros(2, 6).unflatten(1, (2, -1)).shape
    torch.Size([2, 2, 3])
    """
    shape = input._a.shape
    d = wrap_dim(dim, len(shape))
    sizes = tuple([int(s) for s in sizes])
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    known = -prod(sizes) if -1 in sizes else prod(sizes)
    if -1 in sizes and known and shape[d] % known == 0:
        sizes = tuple([shape[d] // known if s == -1 else s for s in sizes])
    if prod(sizes) != shape[d]:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} "
            f"({shape[d]}) in the input tensor"
        )
    return view(input, (*shape[:d], *sizes, *shape[d + 1 :]))


def squeeze(input: Any, dim: Any = None) -> Any:
    """Remove dimensions of size one: all, or those given.

    >>> multitorch.zeros(1, 3, 1).squeeze(0).shape
    torch.Size([3, 1])
    """
    shape = input._a.shape
    if dim is None:
        return apply_view(_squeeze, input, (), {"shape": tuple([n for n in shape if n != 1])})
    if dim.__class__ is int:
        d = wrap_dim(dim, len(shape))
        kept = shape[:d] + shape[d + 1 :] if shape and shape[d] == 1 else shape
        return apply_view(_squeeze_dim, input, (), {"shape": kept})
    drop = [wrap_dim(d, len(shape)) for d in dim]
    kept = tuple([n for d, n in enumerate(shape) if n != 1 or d not in drop])
    return apply_view(_squeeze_dims, input, (), {"shape": kept})


def unsqueeze(input: Any, dim: int) -> Any:
    """Insert a dimension of size one.

    >>> multitorch.zeros(3).unsqueeze(-1).shape
    torch.Size([3, 1])
    """
    shape = input._a.shape
    d = wrap_dim(dim, len(shape) + 1)
    target = (*shape[:d], 1, *shape[d:])
    if dispatch.capturing:
        return apply_view(_unsqueeze, input, (), {"shape": target})
    a = _unsqueeze.kernels[input._dev](input._a, shape=target)
    return member(input, a, ((_unsqueeze, (), {"shape": target}),))


# --- order of dimensions --------------------------------------------------------------------------


def permute(input: Any, *args: Any, dims: Any = None) -> Any:
    """Reorder the dimensions.

    >>> multitorch.zeros(2, 3, 4).permute(2, 0, 1).shape
    torch.Size([4, 2, 3])
    """
    order = sizes_of("permute", args or (dims,))
    ndim = input._a.ndim
    if len(order) != ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {ndim} is not equal "
            f"to len(dims) = {len(order)}"
        )
    order = tuple([wrap_dim(d, ndim) for d in order])
    if len(set(order)) != ndim:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return apply_view(_permute, input, (), {"dims": order})


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Exchange two dimensions.

    >>> multitorch.zeros(2, 3).transpose(0, 1).shape
    torch.Size([3, 2])
    """
    ndim = input._a.ndim
    a, b = wrap_dim(dim0, ndim), wrap_dim(dim1, ndim)
    if ndim == 2 and a != b and not dispatch.capturing:
        return member(
            input, _transpose.kernels[input._dev](input._a, dims=(1, 0)), _TRANSPOSE_STEPS
        )
    order = list(range(ndim))
    if ndim:
        order[a], order[b] = b, a
    return apply_view(_transpose, input, (), {"dims": tuple(order)})


def t(input: Any) -> Any:
    """Transpose a matrix; vectors and scalars stay as they are."""
    ndim = input._a.ndim
    if ndim == 2 and not dispatch.capturing:
        return member(input, _t.kernels[input._dev](input._a, dims=(1, 0)), _T_STEPS)
    if ndim == 2:
        return apply_view(_t, input, (), _SWAPPED)
    if ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {ndim}D")
    return apply_view(_t, input, (), {"dims": tuple(range(ndim))})


_SWAPPED = {"dims": (1, 0)}
_T_STEPS = ((_t, (), _SWAPPED),)
_TRANSPOSE_STEPS = ((_transpose, (), _SWAPPED),)


def _reversed_dims(x: Any) -> Any:
    """Return the tensor with its dimensions in reverse order."""
    ndim = x._a.ndim
    if ndim not in (0, 2):
        warnings.warn(
            f"The use of `x.T` on tensors of dimension other than 2 to reverse their shape is "
            f"deprecated and it will throw an error in a future release. Consider `x.mT` to "
            f"transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to "
            f"reverse the dimensions of a tensor; it has {ndim} dimensions",
            stacklevel=2,
        )
    return apply_view(_permute, x, (), {"dims": tuple(range(ndim - 1, -1, -1))})


def _matrices_transposed(x: Any) -> Any:
    """Return the matrices, the last two dimensions, transposed."""
    if x._a.ndim < 2:
        raise RuntimeError(
            "tensor.mT is only supported on matrices or batches of matrices. Got "
            f"{x._a.ndim}-D tensor."
        )
    return transpose(x, -2, -1)


def _hermitian(x: Any) -> Any:
    """Return the conjugate transpose of a matrix."""
    if x._a.ndim not in (0, 2):
        raise RuntimeError(
            "tensor.H is only supported on matrices (2-D tensors). Got "
            f"{x._a.ndim}-D tensor. For batches of matrices, consider using tensor.mH"
        )
    return adjoint(x) if x._a.ndim else x.conj()


def adjoint(input: Any) -> Any:
    """Return the conjugate transpose of a matrix or of each in a batch."""
    if input._a.ndim < 2:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices. Got "
            f"{input._a.ndim}-D tensor."
        )
    swapped = transpose(input, -2, -1)
    return swapped.conj() if input._dtype.is_complex else swapped


def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Move dimensions to other places; the rest keep their order.

    >>> multitorch.zeros(2, 3, 4).movedim(0, -1).shape
    torch.Size([3, 4, 2])
    """
    ndim = input._a.ndim
    if source.__class__ is int and destination.__class__ is int and ndim:
        order = list(range(ndim))
        order.insert(wrap_dim(destination, ndim), order.pop(wrap_dim(source, ndim)))
        return apply_view(_permute, input, (), {"dims": tuple(order)})
    given = [[d] if isinstance(d, int) else list(d) for d in (source, destination)]
    if len(given[0]) != len(given[1]):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({given[0]} dims) should contain "
            f"the same number of dims as destination ({given[1]} dims)"
        )
    sources, targets = ([wrap_dim(d, ndim) for d in dims] for dims in given)
    for name, dims in (("source", sources), ("destination", targets)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({dims})")
    rest = iter([d for d in range(ndim) if d not in sources])
    place = dict(zip(targets, sources, strict=True))
    dims = tuple([place[d] if d in place else next(rest) for d in range(ndim)])
    return apply_view(_permute, input, (), {"dims": dims})


# --- sizes ----------------------------------------------------------------------------------------


def expand(input: Any, *args: Any, size: Any = None, implicit: bool = False) -> Any:
    """Repeat dimensions of size one without copying.

    >>> multitorch.zeros(3, 1).expand(-1, 4).shape
    torch.Size([3, 4])
    """
    shape = input._a.shape
    target = broadcast_sizes(shape, sizes_of("expand", (size,) if size is not None else args))
    if dispatch.capturing:
        return apply_view(_expand, input, (), {"shape": target})
    a = _expand.kernels[input._dev](input._a, shape=target)
    return member(input, a, ((_expand, (), {"shape": target}),))


def expand_as(input: Any, other: Any) -> Any:
    """Expand the tensor to the shape of another."""
    return expand(input, tuple(other.shape))


def broadcast_to(input: Any, size: Any) -> Any:
    """Broadcast the tensor to a shape."""
    return expand(input, tuple(size))


# --- the same elements ----------------------------------------------------------------------------


def alias(input: Any) -> Any:
    """Return another tensor of the same memory, followed by autograd."""
    return apply_view(_alias, input)


def detach(input: Any) -> Any:
    """Return the same memory as a tensor that autograd does not follow.

    >>> multitorch.ones(1, requires_grad=True).detach().requires_grad
    False
    """
    result = apply_view(_detach, input)
    if tracked(result):
        attach_untracked(result)
    return result


def detach_(input: Any) -> Any:
    """Cut the tensor off the graph that made it."""
    if input._view is not None and input._node is not None:
        raise RuntimeError(
            "Can't detach views in-place. Use detach() instead. If you are using "
            "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
            "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
            "these gradients."
        )
    input._node = None
    return input


def clone(input: Any, *, memory_format: Any = None) -> Any:
    """Return a copy in memory of its own, through which gradients flow."""
    return _clone(input)


def contiguous(input: Any, memory_format: Any = None) -> Any:
    """Return the tensor, copied unless its elements lie in memory in order."""
    if input._view is None and not input._dev.backend.mutable or input.is_contiguous():
        return input
    return _contiguous(input)


def view_as_real(input: Any) -> Any:
    """Return complex numbers as pairs of reals in a last dimension of size 2."""
    if not input._dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return apply_view(_view_as_real, input)


def view_as_complex(input: Any) -> Any:
    """Return pairs of reals in a last dimension of size 2 as complex numbers."""
    shape = input._a.shape
    if not input._dtype.is_floating_point:
        raise RuntimeError(
            "view_as_complex is only supported for half, float and double tensors, but got a "
            f"tensor of scalar type: {input._dtype.scalar_name}"
        )
    if not shape:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if not (input._view is None and not input._dev.backend.mutable) and input.stride()[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    return apply_view(_view_as_complex, input)


FUNCTIONS: dict[str, Callable] = {
    "adjoint": adjoint, "broadcast_to": broadcast_to, "clone": clone, "detach": detach,
    "flatten": flatten, "movedim": movedim, "moveaxis": movedim, "permute": permute,
    "ravel": ravel, "reshape": reshape, "squeeze": squeeze, "t": t, "transpose": transpose,
    "swapaxes": transpose, "swapdims": transpose, "unflatten": unflatten, "unsqueeze": unsqueeze,
    "view_as_complex": view_as_complex, "view_as_real": view_as_real, "detach_": detach_,
}  # fmt: skip
METHODS: dict[str, Any] = {
    **{k: f for k, f in FUNCTIONS.items() if not k.startswith("view_as")},
    "view": view, "view_as": view_as, "reshape_as": reshape_as, "expand": expand,
    "expand_as": expand_as, "contiguous": contiguous,
    "T": property(_reversed_dims), "mT": property(_matrices_transposed),
    "H": property(_hermitian), "mH": property(adjoint),
}  # fmt: skip
