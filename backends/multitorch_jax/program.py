"""A recorded graph as one XLA program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from multitorch_jax.guard import check_program, narrow, narrow_type, on_tpu
from multitorch_jax.jit import x64

_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex128}


class Program:
    """Runs a graph's calls under one `jax.jit`.

    The inputs at the places `donated` are states that outputs replace: XLA takes their memory.
    """

    def __init__(self, world: Any, graph: Any, device: Any, donated: tuple[int, ...] = ()) -> None:
        self._graph, self._device, self.donated = graph, device, donated
        kept = [i for i in range(len(graph.inputs)) if i not in set(donated)]
        self._kept = kept
        order = [*donated, *kept]
        back = [order.index(i) for i in range(len(order))]

        def program(states: list[Any], rest: list[Any]) -> list[Any]:
            values = [*states, *rest]
            return graph.replay(world, [values[i] for i in back])

        self._jitted = jax.jit(program, donate_argnums=(0,) if donated else ())
        if on_tpu():
            check_program(self._trace())

    def __call__(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the outputs; the inputs stay as they are."""
        with x64(True):
            values = list(values)
            for i in self.donated:
                values[i] = jax.numpy.copy(values[i])
        return self.consume(values)

    def consume(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the outputs; the donated inputs are gone after it."""
        if on_tpu():
            values = [narrow(v) for v in values]
        with x64(True), jax.default_device(self._device):
            return self._jitted([values[i] for i in self.donated], [values[i] for i in self._kept])

    def copy(self, a: Any) -> Any:
        """Return an array that can be donated without loss of `a`."""
        with x64(True):
            return jax.numpy.copy(a)

    # --- to be read

    def _trace(self) -> Any:
        keys = self._graph.input_keys
        structs = [
            jax.ShapeDtypeStruct((), narrow_type(_NUMBERS[k]), weak_type=True)
            if isinstance(k, type)
            else jax.ShapeDtypeStruct(*k)
            for k in keys
        ]
        with x64(True), jax.default_device(self._device):
            return self._jitted.trace(
                [structs[i] for i in self.donated], [structs[i] for i in self._kept]
            )

    def _lower(self) -> Any:
        traced = self._trace()
        with x64(True), jax.default_device(self._device):
            return traced.lower()

    def stablehlo(self) -> str:
        """Return the program as StableHLO, as it goes to XLA."""
        return self._lower().as_text()

    def hlo(self) -> str:
        """Return the program as XLA optimized it."""
        return self._lower().compile().as_text()

    def cost(self) -> dict[str, float]:
        """Return XLA's count of flops and bytes, and the bytes of memory by kind."""
        compiled = self._lower().compile()
        analysis = compiled.cost_analysis() or {}
        if isinstance(analysis, list):
            analysis = analysis[0]
        found = {
            "flops": float(analysis.get("flops", 0.0)),
            "bytes accessed": float(analysis.get("bytes accessed", 0.0)),
        }
        memory = compiled.memory_analysis()
        for kind in ("argument", "output", "alias", "temp"):
            size = getattr(memory, f"{kind}_size_in_bytes", None)
            if size is not None:
                found[f"{kind} bytes"] = float(size)
        return found
