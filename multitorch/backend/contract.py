"""What a backend must provide, and what it inherits.

A backend computes on raw arrays. It knows no `Tensor` and no gradient. Array data is passed by
position, static metadata by keyword; dtypes are NumPy dtypes; kernels receive equal dtypes because
promotion happened in the front end. A kernel returns an array, or a tuple of arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from multitorch.backend.ahead import Ahead

Array = Any
Kernel = Callable[..., Any]


class KernelNotFound(NotImplementedError):
    """Raised when a backend lacks a primitive kernel."""


class LinAlgError(RuntimeError):
    """Raised for a matrix that an operation of linear algebra cannot handle, a singular one say."""


Shape = tuple[int, ...]
Meta = tuple[tuple[int, ...], np.dtype] | None


class RuleCall(Protocol):
    """What the tape hands to `World.vjp`: one op's derivative rules, ready to run."""

    name: str
    opaque: bool
    static_saves: tuple[bool, ...]

    def run_rules(
        self,
        F: World,
        g: Any,
        saved: Sequence[Any],
        needs: tuple[bool, ...],
        meta: tuple[Meta, ...] | None,
    ) -> tuple[Any, ...]:
        """Run the rules of the inputs that `needs` marks; None for the others."""
        ...


class World:
    """A namespace of kernels by name: fused ops fall back to their generic bodies.

    `F.softmax` is the world's own kernel if it has one, otherwise the generic body of
    `multitorch.backend.generic` with `F` bound to this world.
    """

    of_tensors = False
    """Whether values are tensors (the differentiable ops) or raw arrays."""
    records = False
    """Whether calls are put into a graph instead of being computed."""
    mutable = False
    """Whether arrays are memory that views alias and writes change (NumPy), or values (JAX)."""
    fuses_rules = False
    """Whether `vjp` should see a node whole (JAX jits its rules together)."""

    def vjp(
        self,
        op: RuleCall,
        g: Any,
        saved: Sequence[Any],
        needs: tuple[bool, ...],
        meta: tuple[Meta, ...] | None,
    ) -> tuple[Any, ...]:
        """Run the wanted derivative rules of one node."""
        return op.run_rules(self, g, saved, needs, meta)

    def __getattr__(self, name: str) -> Kernel:
        if name.startswith("__"):
            raise AttributeError(name)
        body = generic_bodies().get(name)
        if body is None:
            raise KernelNotFound(
                f"{name}: backend {type(self).__name__} has no kernel of this name, "
                "and it has no generic body"
            )
        kernel = bind_world(body, self)
        self.__dict__[name] = kernel
        return kernel


def bind_world(body: Kernel, world: World) -> Kernel:
    """Bind a generic body `body(F, *arrays, **params)` to one world."""

    def kernel(*arrays: Any, **params: Any) -> Any:
        for a in arrays:
            if getattr(a, "dtype", None) in _HALVES:
                return _in_single(body, world, arrays, params, a.dtype)
        return body(world, *arrays, **params)

    kernel.__name__ = kernel.__qualname__ = body.__name__
    return kernel


_HALVES = frozenset({np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)})


def _in_single(body: Kernel, world: World, arrays: tuple, params: dict, half: np.dtype) -> Any:
    """Run a body on half-precision arrays in single precision, rounding only its results."""
    single = np.dtype(np.float32)
    if any(getattr(a, "dtype", None) == single for a in arrays):
        return body(world, *arrays, **params)  # which results are single is the body's affair
    cast = world.cast
    wide = [cast(a, dtype=single) if getattr(a, "dtype", None) == half else a for a in arrays]
    result = body(world, *wide, **params)
    if not isinstance(result, (tuple, list)):
        return cast(result, dtype=half) if result.dtype == single else result
    return tuple(cast(a, dtype=half) if getattr(a, "dtype", None) == single else a for a in result)


def generic_bodies() -> dict[str, Kernel]:
    """Return the generic bodies of the fused ops by name."""
    from multitorch.backend import generic

    return generic.BODIES


class Backend(World):
    """One library behind one or more device types. Subclass once; override nothing concrete twice.

    Required: the attributes and abstract methods below, and a kernel for every primitive op,
    as an attribute of the op's name.
    """

    name: str = ""
    array_types: tuple[type, ...] = ()
    compiles_with: str = ""
    """The device type whose backend compiles recorded programs for this one; "" for itself."""

    def adopt(self, kernels: dict[str, Kernel]) -> None:
        """Make functions this world's kernels; none may hide what the contract itself defines."""
        taken = sorted(name for name in kernels if hasattr(Backend, name))
        if taken:
            raise TypeError(f"backend {self.name}: kernels {taken} have names of the contract")
        self.__dict__.update(kernels)

    def device_count(self, type: str) -> int:
        """Return how many devices of this type are present; 0 when the platform is absent."""
        raise NotImplementedError

    def put(self, a: np.ndarray, *, type: str, index: int) -> Array:
        """Place a host array on a device (sharing memory is allowed)."""
        raise NotImplementedError

    def get(self, a: Array) -> np.ndarray:
        """Return the array's value on the host (sharing memory is allowed)."""
        raise NotImplementedError

    def full(self, value: Any, *, shape: tuple[int, ...], dtype: np.dtype, type: str, index: int):
        """Return a new array filled with one value."""
        return self.put(np.full(shape, value, dtype), type=type, index=index)

    def sync(self, type: str, index: int) -> None:
        """Wait until all work queued on a device is done."""

    def as_array(self, a: Any) -> Array:
        """Turn a kernel's result that is not of `array_types` (a NumPy scalar) into an array."""
        return a

    def copy(self, a: Array) -> Array:
        """Return an array whose memory is its own."""
        return a

    def own(self, a: Array) -> Array:
        """Return `a`, copied if it could share memory with another array or is read-only."""
        return a

    def write(self, dst: Array, src: Array) -> Array:
        """Store `src`, broadcast and cast, into `dst`; return the array that holds it."""
        raise NotImplementedError

    def resize(
        self, a: Array, split: Shape, sizes: Shape, shape: Shape, place: tuple[str, int]
    ) -> Array:
        """Return `a` seen in shape `split`, cut or zero-padded to `sizes`, in shape `shape`.

        It goes through the host, where another size compiles nothing.
        """
        old = np.asarray(self.get(a)).reshape(split)
        new = np.zeros(sizes, old.dtype)
        common = tuple([slice(min(m, n)) for m, n in zip(split, sizes, strict=True)])
        new[common] = old[common]
        return self.put(new.reshape(shape), type=place[0], index=place[1])

    def buffer(self, a: Array) -> Array:
        """Return the object that owns the array's memory (the array itself for values)."""
        return a

    def has_overlap(self, a: Array) -> bool:
        """Whether two elements of `a` share one memory location (expanded arrays)."""
        return False

    def strides(self, a: Array) -> tuple[tuple[int, ...], int] | None:
        """Return (strides, storage offset) in elements, or None if the backend has no strides."""
        return None

    def is_contiguous(self, a: Array) -> bool | None:
        """Whether the elements lie in row-major order without gaps; None without strides."""
        return None

    def reshaped_in_place(self, a: Array, shape: tuple[int, ...]) -> Array | None:
        """Return memory without gaps seen in another shape, None where that needs a closer look."""
        return None

    def set_matmul_precision(self, precision: str) -> None:
        """Compute float32 products so exactly from now on; nothing to do where all are exact."""

    def data_ptr(self, a: Array) -> int:
        """Return an address that identifies the memory of `a`."""
        return id(a)

    def quiet(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which floating-point exceptions are not reported."""
        return contextlib.nullcontext()

    def kernel(self, name: str) -> Kernel:
        """Return the callable that eager dispatch uses for the op of this name."""
        return getattr(self, name)

    def inplace_kernel(self, name: str) -> Kernel | None:
        """Return `kernel(x, *others)` that overwrites `x`'s memory, or None if there is none."""
        return None

    def compile(self, graph: Any, **options: Any) -> Callable[[Sequence[Array]], Sequence[Array]]:
        """Turn a recorded graph into an executable `list of inputs -> list of outputs`."""
        raise NotImplementedError(f"backend {self.name} cannot compile graphs")

    def settle(self, a: Array) -> Array:
        """Return a host array, to which one tensor alone refers, in memory that programs can use.

        It may be the array given; else the tensor is to take what is returned in its place.
        """
        return a

    def compile_ahead(
        self,
        graph: Any,
        *,
        topology: str,
        shapes: Mapping[int, tuple[Any, Any]],
        donated: Sequence[int] = (),
    ) -> Ahead:
        """Compile a graph for hardware that is not there.

        `shapes` has the (shape, dtype) of what its calls compute, `donated` the inputs whose memory
        the outputs may take.
        """
        raise NotImplementedError(f"backend {self.name} cannot compile for other hardware")
