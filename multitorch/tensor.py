"""`multitorch.Tensor`: a raw array, its dtype and device, and its place on the tape.

The operators and most methods come from the op families (`METHODS`, `INPLACE`): see the end of this
file. What stands here is what a tensor is, rather than what can be computed with it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from multitorch import dtypes
from multitorch.autograd import modes, tape
from multitorch.autograd.tape import LEAF, Node, Output
from multitorch.device import device as Device
from multitorch.dtypes import dtype as DType
from multitorch.ops import apply as dispatch
from multitorch.ops import inplace, view
from multitorch.ops import world as _world  # noqa: F401 (gives the tape its world of tensors)
from multitorch.ops.apply import world_for, wrap
from multitorch.ops.op import Op
from multitorch.size import Size


class Tensor:
    """A multi-dimensional array that records what is done with it.

    >>> x = Tensor([1.0, 2.0])
    >>> (x * x).sum()
    tensor(5.)
    """

    __slots__ = ("__dict__", "__weakref__", "_a", "_dev", "_dtype", "_node", "_view", "_views")
    _a: Any
    """The raw array of the backend."""
    _dev: Device
    _dtype: DType
    _node: Any
    """None, LEAF for a leaf that requires grad, or the tape's node."""
    _view: Any
    """None, or (base, steps, root, root_steps): see `multitorch.ops.view`."""
    _views: list | None
    """Weak references to the tensors that are views of this one."""

    # rarely set: instances that do so keep them in their __dict__
    _grad: Tensor | None = None
    _hooks: dict | None = None
    _post_hooks: dict | None = None
    _version = 0
    __array_priority__ = 1000

    if TYPE_CHECKING:
        # the methods of the op families are attached below
        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...

    names = property(lambda self: (None,) * self.ndim, doc="None for each dimension.")

    def __new__(cls, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        """Make a float tensor of the given sizes or data (PyTorch's old constructor)."""
        from multitorch.ops import creation

        if len(args) == 1 and isinstance(args[0], Tensor):
            t = args[0].detach()
        elif len(args) == 1 and not isinstance(args[0], int) and not isinstance(args[0], Size):
            t = creation.tensor(args[0], dtype=dtypes.get_default_dtype(), device=device)
        else:
            sizes = args[0] if args and isinstance(args[0], Size) else args
            t = creation.empty(tuple(sizes) or (0,), device=device)
        return t if cls is Tensor else t.as_subclass(cls)

    def as_subclass(self, cls: type) -> Any:
        """Return an alias of this tensor whose class is `cls`."""
        t = object.__new__(cls)
        t._a, t._dev, t._dtype, t._node = self._a, self._dev, self._dtype, self._node
        t._view = t._views = None
        return t

    # --- what it is

    @property
    def shape(self) -> Size:
        """The sizes of all dimensions."""
        return Size(self._a.shape)

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the size of one dimension."""
        if dim is None:
            return Size(self._a.shape)
        from multitorch.ops.common import wrap_dim

        return self._a.shape[wrap_dim(dim, self._a.ndim)]

    @property
    def dtype(self) -> DType:
        """The data type of the elements."""
        return self._dtype

    @property
    def device(self) -> Device:
        """The device that holds the data."""
        return self._dev

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._a.ndim

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self._a.ndim

    ndimension = dim

    def numel(self) -> int:
        """Return the number of elements."""
        return Size(self._a.shape).numel()

    nelement = numel

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._dtype.itemsize

    def element_size(self) -> int:
        """Return the bytes of one element."""
        return self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self._dtype.itemsize

    def is_floating_point(self) -> bool:
        """Return whether the dtype is a floating-point type."""
        return self._dtype.is_floating_point

    def is_complex(self) -> bool:
        """Return whether the dtype is a complex type."""
        return self._dtype.is_complex

    def is_signed(self) -> bool:
        """Return whether the dtype is a signed type."""
        return self._dtype.is_signed

    def is_inference(self) -> bool:
        """Return False: tensors of `inference_mode` are ordinary ones here."""
        return False

    def is_conj(self) -> bool:
        """Return False: conjugation is never lazy here."""
        return False

    is_neg = is_conj

    @property
    def layout(self) -> Any:
        """The memory layout, always strided."""
        from multitorch.layout import strided

        return strided

    is_cuda = property(lambda self: self._dev.type == "cuda", doc="Whether it is on a CUDA GPU.")
    is_cpu = property(lambda self: self._dev.type == "cpu", doc="Whether it is in host memory.")
    is_meta = property(lambda self: self._dev.type == "meta", doc="Whether it has no data.")
    is_sparse = is_quantized = is_mkldnn = is_nested = is_mps = is_xpu = property(
        lambda self: False, doc="False: there are no such tensors here."
    )

    def get_device(self) -> int:
        """Return the device's index, -1 on the cpu."""
        return -1 if self._dev.index is None else self._dev.index

    def _layout(self) -> tuple[tuple[int, ...], int]:
        """Return (strides, storage offset) in elements; derived for arrays that have none."""
        found = world_for(self._dev).strides(self._a)
        if found is not None:
            return found
        base, steps = (self, ()) if self._view is None else self._view[:2]
        origin = np.lib.stride_tricks.as_strided(
            np.empty(1, np.int8), base._a.shape, contiguous_strides(base._a.shape)
        )
        value = view.replay(_numpy_world(), origin, steps)
        offset = value.__array_interface__["data"][0] - origin.__array_interface__["data"][0]
        return value.strides, offset

    def stride(self, dim: int | None = None) -> Any:
        """Return the step between neighbours in memory, in elements, of one or all dimensions."""
        strides = self._layout()[0]
        return strides if dim is None else strides[dim]

    def storage_offset(self) -> int:
        """Return where in its storage the tensor begins, in elements."""
        return self._layout()[1]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Return whether the elements lie in memory in row-major order without gaps."""
        if self._view is None and not self._dev.backend.mutable:
            return True
        known = world_for(self._dev).is_contiguous(self._a)
        if known is not None:
            return known
        shape, strides = self._a.shape, self._layout()[0]
        pairs = zip(shape, strides, contiguous_strides(shape), strict=True)
        return 0 in shape or all(size == 1 or has == due for size, has, due in pairs)

    def is_pinned(self, device: Any = None) -> bool:
        """Return False: no memory is page-locked here."""
        return False

    def data_ptr(self) -> int:
        """Return an address that identifies the tensor's memory."""
        return self._dev.backend.data_ptr(self._a)

    # --- autograd

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch recording on or off for this leaf tensor."""
        if not requires_grad:
            if self._node is not None and self._node is not LEAF:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use "
                    "a computed variable in a subgraph that doesn't require differentiation use "
                    "var_no_grad = var.detach()."
                )
            self._node = None
        elif self._node is None:
            if not self._dtype.inexact:
                raise RuntimeError(
                    "only Tensors of floating point and complex dtype can require gradients"
                )
            self._node = LEAF
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user, not by a recorded op."""
        return self._node is None or self._node is LEAF

    @property
    def grad_fn(self) -> Any:
        """The node that made this tensor, None for a leaf."""
        node = self._node
        if node is None or node is LEAF:
            return None
        return node.node if node.__class__ is Output else node

    @property
    def output_nr(self) -> int:
        """Which output of `grad_fn` this tensor is."""
        return self._node.index if self._node.__class__ is Output else 0

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated by `backward`, None before."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(value).__name__!r}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value.shape != self.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: expected {list(self.shape)}, got "
                    f"{list(value.shape)}"
                )
            if value._dtype is not self._dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: expected {self._dtype}, got "
                    f"{value._dtype}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this non-leaf tensor."""
        return self.grad_fn is not None and "retain" in (self._node.extra or ())

    def retain_grad(self) -> None:
        """Make `backward` fill `.grad` of this non-leaf tensor too."""
        if self._node is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is not LEAF:
            self._node._more()["retain"] = weakref.ref(self)

    def register_hook(self, hook: Callable) -> Any:
        """Call `hook(grad)` when this tensor's gradient is known; it may return another."""
        if self._node is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is LEAF:
            if self._hooks is None:
                self._hooks = {}
            return tape.add_hook(self._hooks, hook)
        return tape.add_hook(self._node._more().setdefault("tensor", {}), hook)

    def register_post_accumulate_grad_hook(self, hook: Callable) -> Any:
        """Call `hook(tensor)` after a gradient was added to this leaf's `.grad`."""
        if self._node is not LEAF:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        if self._post_hooks is None:
            self._post_hooks = {}
        return tape.add_hook(self._post_hooks, hook)

    def _accumulate_grad(self, g: Any, create_graph: bool, shared: bool) -> None:
        world = world_for(self._dev)
        if self._grad is None:
            if not create_graph:
                g = wrap(world.copy(g) if shared else world.own(g), self._dev, world)
            self._grad = g
        elif create_graph:
            self._grad = self._grad + g
        else:
            kernel = None if dispatch.capturing else world.inplace_kernel("add")
            held = self._grad
            if kernel is not None and held._dtype is self._dtype:
                kernel(held._a, g, held._a)
                tape.log_write(world.buffer(held._a))
            else:
                total = world.add(dispatch.raw_of(held, held._dev, world), g)
                inplace.commit(held, wrap(total, held._dev, world))
        for hook in list((self._post_hooks or {}).values()):
            hook(self)

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Compute d self / d leaf and add it to `.grad` of every leaf."""
        from multitorch import autograd

        autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    @property
    def data(self) -> Tensor:
        """An alias of this tensor that autograd does not know of."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if value._dtype.inexact != self._dtype.inexact and self._node is not None:
            raise RuntimeError(
                "data set to a tensor that requires gradients must be floating point"
            )
        self._a, self._dev, self._dtype = value._a, value._dev, value._dtype
        self._view = None

    def set_(self, source: Tensor) -> Tensor:
        """Make this tensor refer to the memory of another."""
        self.data = source
        return self

    @property
    def _base(self) -> Tensor | None:
        return None if self._view is None else self._view[2]

    def _is_view(self) -> bool:
        return self._base is not None

    def _store(self, result: Tensor) -> Tensor:
        """Take the value of `result` as `out=` does: resized if need be, never recorded."""
        from multitorch.promotion import can_cast

        if result._node is not None or (self._node is not None and modes.is_grad_enabled()):
            raise RuntimeError(
                "functions with out=... arguments don't support automatic differentiation, but one "
                "of the arguments requires grad."
            )
        if not can_cast(result._dtype, self._dtype):
            raise RuntimeError(
                f"result type {result._dtype.scalar_name} can't be cast to the desired output type "
                f"{self._dtype.scalar_name}"
            )
        if result._dev is not self._dev:
            raise RuntimeError(f"out= is on device {self._dev}, the result on {result._dev}")
        if result._a.shape != self._a.shape:
            self._a, self._view = result.to(self._dtype)._a, None
            return self
        inplace.check_writable(self)
        return inplace.commit(self, result)

    # --- to Python and NumPy

    def _host(self) -> np.ndarray:
        """Return the value as a NumPy array (shared with the tensor on the cpu)."""
        world = world_for(self._dev)
        return world.get(self._a)

    def item(self) -> Any:
        """Return the only element as a Python number."""
        if self.numel() != 1:
            raise RuntimeError(
                f"a Tensor with {self.numel()} elements cannot be converted to Scalar"
            )
        return _python(np.asarray(self._host()).reshape(()))

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return _python(self._host())

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """Return the value as a NumPy array; on the cpu it shares the tensor's memory."""
        if not force:
            if self._node is not None:
                raise RuntimeError(
                    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                    "instead."
                )
            if self._dev.type != "cpu":
                raise TypeError(
                    f"can't convert {self._dev} device type tensor to numpy. Use Tensor.cpu() to "
                    "copy the tensor to host memory first."
                )
        return np.asarray(self._host())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        a = self.numpy()
        return a if dtype is None else a.astype(dtype)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.numpy().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.numpy().__dlpack_device__()

    def _bool(self) -> bool:
        if self.numel() != 1:
            if self.numel() == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.item())

    __bool__ = _bool

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        value = self.item()
        if not isinstance(value, int):
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(value)

    def __len__(self) -> int:
        if not self._a.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self._a.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._a.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any().item())

    __hash__ = object.__hash__

    def __format__(self, spec: str) -> str:
        if self._a.ndim == 0 and type(self) is Tensor and self._dev.type != "meta":
            return format(self.item(), spec)
        return object.__format__(self, spec) if spec else str(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from multitorch.printing import meta_str, tensor_str

        node = self.grad_fn
        options: dict[str, Any] = {
            "dtype": self._dtype,
            "requires_grad": self._node is LEAF,
            "grad_fn_name": None if node is None else node.name(),
        }
        if self._dev.type == "meta":
            return meta_str(tuple(self._a.shape), **options)
        suffix = None if self._dev.type == "cpu" else f"device='{self._dev}'"
        return tensor_str(np.asarray(self._host()), device_suffix=suffix, **options)

    # --- copies

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment. If you were attempting to deepcopy a module, this may be "
                "because of a torch.nn.utils.weight_norm usage"
            )
        import copy

        with modes.no_grad():
            t = self.detach().clone()
        t = t if type(self) is Tensor else t.as_subclass(type(self))
        t._view, t._node = None, self._node
        memo[id(self)] = t
        if self._grad is not None:
            t._grad = copy.deepcopy(self._grad, memo)
        return t

    def __reduce_ex__(self, protocol: Any) -> tuple:
        if not self.is_leaf:
            raise RuntimeError("only leaf tensors can be pickled: use .detach() first")
        host = np.ascontiguousarray(self._host()).reshape(self._a.shape)
        data = host.tobytes()
        state = (data, self._dtype, tuple(self._a.shape), str(self._dev), self._node is LEAF)
        return _unpickle, (type(self), *state)


def _unpickle(cls: type, data: bytes, dtype: DType, shape: tuple, dev: str, grad: bool) -> Any:
    from multitorch.ops.creation import tensor

    t = tensor(np.frombuffer(bytearray(data), dtype.numpy()).reshape(shape), device=dev)
    if cls is not Tensor:
        t = t.as_subclass(cls)
    t._node = LEAF if grad else None
    return t


def _python(a: np.ndarray) -> Any:
    """Return an array's elements as Python numbers, in nested lists."""
    if a.dtype.kind == "V":  # ml_dtypes
        a = np.asarray(a).astype(np.float32)
    return np.asarray(a).tolist()


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the row-major strides of a shape, in elements.

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _numpy_world() -> Any:
    return Device("cpu").backend


dispatch.bind_tensor_class(Tensor)


def _attach_families() -> None:
    """Give Tensor the methods and in-place methods of the op families."""
    from multitorch.ops import families
    from multitorch.ops.common import METHOD_CALLERS

    for module in families.modules():
        for name, function in getattr(module, "METHODS", {}).items():
            setattr(Tensor, name, function)
        for name, function in getattr(module, "INPLACE", {}).items():
            setattr(Tensor, name, inplace.make_inplace(function, name))
    for caller in METHOD_CALLERS:
        method = getattr(Tensor, caller.__name__)
        caller.__wrapped__, caller.__doc__ = method, method.__doc__  # type: ignore[attr-defined]


_attach_families()
__all__ = ["Node", "Op", "Size", "Tensor", "contiguous_strides"]
