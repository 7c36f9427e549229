"""JAX arrays on any platform that XLA reaches. Each kernel is one jitted program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from multitorch.backend import Backend, RuleCall, World
from multitorch.backend.collect import kernels
from multitorch_jax.guard import guard, on_tpu, refuse_complex128
from multitorch_jax.jit import eager, elementwise, x64
from multitorch_jax.program import Program

if TYPE_CHECKING:
    from multitorch.backend.ahead import Ahead

_ELEMENTWISE = frozenset(
    "add sub mul div neg abs exp log sqrt rsqrt sin cos tanh sigmoid relu maximum minimum eq ne lt "
    "le gt ge reciprocal square erf log1p expm1 mm pow".split()
)
_PLATFORM = {"cuda": "cuda", "tpu": "tpu"}


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
        self._rules: dict[tuple, Callable] = {}
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
            fill = self._fills[key] = jax.jit(lambda v: jax.numpy.full(shape, v, dtype))
        with x64(True), jax.default_device(self.devices(type)[index]):
            return fill(value)

    def get(self, a: Any) -> np.ndarray:
        return np.asarray(a)

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
        statics = op.static_saves
        key = (
            op.name,
            needs,
            meta,
            tuple([s for s, static in zip(saved, statics, strict=True) if static]),
            type(g),
        )
        compiled = self._rules.get(key)
        if compiled is None:
            rules = self._joint(op, saved, needs, meta)
            compiled = jax.jit(rules)
            if on_tpu():
                compiled = guard(rules.__name__, compiled, rules)
            self._rules[key] = compiled
        arrays = [s for s, static in zip(saved, statics, strict=True) if not static]
        with x64(True):
            return compiled(g, arrays)

    def _joint(self, op: RuleCall, saved: Sequence[Any], needs: Any, meta: Any) -> Callable:
        statics = [s if static else None for s, static in zip(saved, op.static_saves, strict=True)]
        flags = op.static_saves

        def rules(g: Any, arrays: list[Any]) -> tuple[Any, ...]:
            given = iter(arrays)
            pairs = zip(statics, flags, strict=True)
            values = [value if static else next(given) for value, static in pairs]
            return op.run_rules(self.trace, g, values, needs, meta)

        rules.__name__ = f"{op.name}_backward"
        return rules

    def compile(self, graph: Any, **options: Any) -> Program:
        """Compile a recorded graph: its calls replayed over the kernels under one `jax.jit`."""
        dev = options["device"]
        target = self.devices(dev.type if dev.type in ("jax", "cuda", "tpu") else "jax")
        return Program(self.trace, graph, target[dev.ordinal], options.get("donated", ()))

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
