"""JAX arrays on any platform that XLA reaches. Each kernel is one jitted program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from multitorch.backend import Backend, RuleCall, World
from multitorch.backend.collect import kernels
from multitorch.backend.contract import Shape
from multitorch_jax import precision as matmul_precision
from multitorch_jax.guard import guard, on_tpu, refuse_complex128
from multitorch_jax.jit import eager, elementwise, restore_x64, swap_x64, x64
from multitorch_jax.program import Program, picker

if TYPE_CHECKING:
    from multitorch.backend.ahead import Ahead

_ELEMENTWISE = frozenset(
    "add sub mul div neg abs exp log sqrt rsqrt sin cos tanh sigmoid relu maximum minimum eq ne lt "
    "le gt ge reciprocal square erf log1p expm1 mm pow".split()
)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _resized(a: Any, split: Shape, sizes: Shape, shape: Shape) -> Any:
    """Cut or pad an array with zeros."""
    ends = [(0, n - m, 0) for m, n in zip(split, sizes, strict=True)]
    return jax.lax.pad(a.reshape(split), jax.numpy.zeros((), a.dtype), ends).reshape(shape)


def _picker(flags: Sequence[bool], wanted: bool) -> Callable[[Sequence[Any]], tuple]:
    """Return the function that picks the values whose flag is `wanted`."""
    return picker([i for i, flag in enumerate(flags) if flag is wanted])


_PLATFORM = {"cpu": "cpu", "cuda": "cuda", "tpu": "tpu"}


class TraceWorld(World):
    """The kernels as plain functions, for use inside `jax.jit`."""

    name = "jax"

    def __init__(self) -> None:
        self.__dict__.update(kernels("multitorch_jax"))


class JaxBackend(Backend):
    """JAX behind the devices "jax", "cuda" and "tpu"."""

    name = "jax"
    mutable = False
    fuses_rules = True

    def __init__(self) -> None:
        self.trace = TraceWorld()
        self.array_types = (type(jax.numpy.zeros(())),)
        self._rules: dict[RuleCall, tuple[Callable, Callable, dict[tuple, Callable]]] = {}
        self._fills: dict[tuple, Callable] = {}
        self._devices: dict[str, list[Any]] = {}

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)
        plain = getattr(self.trace, name)
        kernel = (elementwise if name in _ELEMENTWISE else eager)(plain)
        if on_tpu():
            kernel = guard(name, kernel, plain)
        self.__dict__[name] = kernel
        return kernel

    def devices(self, type: str) -> list[Any]:
        """Return JAX's devices of one of our device types."""
        found = self._devices.get(type)
        if found is None:
            try:
                found = jax.local_devices(backend=_PLATFORM.get(type))
            except RuntimeError:
                found = []
            self._devices[type] = found
        return found

    def device_count(self, type: str) -> int:
        return len(self.devices(type))

    def reshaped_in_place(self, a: Any, shape: tuple[int, ...]) -> Any:
        size, known = a.size, prod(shape)
        if -1 in shape:
            if known >= 0 or size % known:
                return None
            shape = tuple([size // -known if n == -1 else n for n in shape])
        elif known != size:
            return None
        return self.reshape(a, shape=shape)

    def set_matmul_precision(self, precision: str) -> None:
        if matmul_precision.set_precision(precision):
            jax.clear_caches()  # whatever was traced so far holds the precision of its time

    def put(self, a: np.ndarray, *, type: str, index: int) -> Any:
        if on_tpu():
            refuse_complex128(a.dtype, "a tensor")
        with x64(True):
            # a copy: JAX may alias NumPy's memory, which a later in-place write would change
            return jax.device_put(np.array(a), self.devices(type)[index])

    def full(self, value: Any, *, shape: tuple[int, ...], dtype: Any, type: str, index: int) -> Any:
        key = (shape, dtype, type, index)
        fill = self._fills.get(key)
        if fill is None:
            place = jax.sharding.SingleDeviceSharding(self.devices(type)[index])
            fill = self._fills[key] = jax.jit(
                lambda v: jax.numpy.full(shape, v, dtype), out_shardings=place
            )
        before = swap_x64(True)
        try:
            return fill(value)
        finally:
            restore_x64(before)

    def get(self, a: Any) -> np.ndarray:
        return np.asarray(a)

    def resize(
        self, a: Any, split: Shape, sizes: Shape, shape: Shape, place: tuple[str, int]
    ) -> Any:
        # away from an accelerator and back would stop it: there a small program for each size does
        if self.devices(place[0])[place[1]].platform == "cpu":
            return super().resize(a, split, sizes, shape, place)
        with x64(True):
            return _resized(a, split, sizes, shape)

    def as_array(self, a: Any) -> Any:
        with x64(True):
            return jax.numpy.asarray(a)

    def sync(self, type: str, index: int) -> None:
        with x64(True):
            jax.device_put(0, self.devices(type)[index]).block_until_ready()

    def write(self, dst: Any, src: Any) -> Any:
        if src.shape == dst.shape and src.dtype == dst.dtype:
            return src
        return self.cast(self.expand(src, shape=dst.shape), dtype=dst.dtype)

    def vjp(
        self, op: RuleCall, g: Any, saved: Sequence[Any], needs: tuple[bool, ...], meta: Any
    ) -> tuple[Any, ...]:
        """Run all wanted rules of a node as one jitted program."""
        if op.opaque:
            return op.run_rules(self, g, saved, needs, meta)
        found = self._rules.get(op)
        if found is None:
            flags = op.static_saves
            pickers = _picker(flags, True), _picker(flags, False)
            found = self._rules[op] = (*pickers, {})
        pick_statics, pick_arrays, programs = found
        key = (needs, meta, pick_statics(saved), g.__class__)
        compiled = programs.get(key)
        if compiled is None:
            compiled = programs[key] = self._compile_rules(op, saved, needs, meta)
        before = swap_x64(True)
        try:
            return compiled(g, *pick_arrays(saved))
        finally:
            restore_x64(before)

    def _compile_rules(self, op: RuleCall, saved: Sequence[Any], needs: Any, meta: Any) -> Callable:
        flags = op.static_saves
        statics = [s if static else None for s, static in zip(saved, flags, strict=True)]

        def rules(g: Any, *arrays: Any) -> tuple[Any, ...]:
            given = iter(arrays)
            pairs = zip(statics, flags, strict=True)
            values = [value if static else next(given) for value, static in pairs]
            return op.run_rules(self.trace, g, values, needs, meta)

        rules.__name__ = f"{op.name}_backward"
        compiled = jax.jit(rules)
        return guard(rules.__name__, compiled, rules) if on_tpu() else compiled

    def compile(self, graph: Any, **options: Any) -> Program:
        """Compile a recorded graph: its calls replayed over the kernels under one `jax.jit`."""
        dev, donated = options["device"], options.get("donated", ())
        if dev.backend is self:
            return Program(self.trace, graph, self.devices(dev.type)[dev.ordinal], donated)
        from multitorch_jax.shared import HostProgram

        return HostProgram(self.trace, graph, self._host(), donated)

    def _host(self) -> Any:
        found = self.devices("cpu")
        if not found:
            raise RuntimeError(
                "tensors on cpu are compiled by XLA:CPU, which this JAX is told not to load. "
                "Remedy: add it to JAX_PLATFORMS, as in JAX_PLATFORMS=cuda,cpu."
            )
        return found[0]

    def settle(self, a: np.ndarray) -> np.ndarray:
        from multitorch_jax.shared import settle

        return settle(a, self._host())

    def compile_ahead(
        self,
        graph: Any,
        *,
        topology: str,
        shapes: Mapping[int, tuple[Any, Any]],
        donated: Sequence[int] = (),
    ) -> Ahead:
        from multitorch_jax import aot

        return aot.compile_ahead(self.trace, graph, topology, shapes, donated)
