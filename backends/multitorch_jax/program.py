"""A recorded graph as one XLA program."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from operator import attrgetter, itemgetter
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from multitorch.backend.ahead import Account
from multitorch_jax.cache import without_cache
from multitorch_jax.guard import check_program, narrow, narrow_type, on_tpu
from multitorch_jax.jit import restore_x64, swap_x64, x64

swap_device: Any = jax.default_device.swap_local
"""Set the device that this thread's computations default to; return the one before."""
restore_device: Any = jax.default_device.set_local
_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex128}


def picker(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple]:
    """Return the function that picks the values at some places."""
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return lambda values: ()
    (place,) = places
    return lambda values: (values[place],)


class Program:
    """Runs a graph's calls under one `jax.jit`.

    The inputs at the places `donated` are states that outputs replace: XLA takes their memory.
    """

    keep_unused = False
    """Whether inputs that nothing depends on are given to XLA."""

    def __init__(self, world: Any, graph: Any, device: Any, donated: tuple[int, ...] = ()) -> None:
        self._graph, self._device, self.donated = graph, device, donated
        self._world = world
        self._kept = [i for i in range(len(graph.inputs)) if i not in set(donated)]
        self._pick_states, self._pick_rest = picker(donated), picker(self._kept)
        self._jitted = self._jit()
        if on_tpu():
            check_program(self._trace())

    def _jit(self, **options: Any) -> Any:
        graph, world = self._graph, self._world
        order = [*self.donated, *self._kept]
        back = [order.index(i) for i in range(len(order))]

        def program(states: tuple, rest: tuple) -> list[Any]:
            values = [*states, *rest]
            return graph.replay(world, [values[i] for i in back], **options)

        return jax.jit(
            program, donate_argnums=(0,) if self.donated else (), keep_unused=self.keep_unused
        )

    def __call__(
        self,
        values: Sequence[Any],
        copied: Sequence[int] | None = None,
        targets: Sequence[Any] = (),
        name: str = "array",
    ) -> Sequence[Any]:
        """Return the outputs as `update` does; of the donated inputs, those `copied` stay.

        By default all of them are copied.
        """
        values = list(values)
        for i in self.donated if copied is None else copied:
            values[i] = self.copy(values[i])
        return self.update(values, targets, name)

    def update(
        self, values: Sequence[Any], targets: Sequence[Any] = (), name: str = "array"
    ) -> list[Any]:
        """Return the outputs; the first become the attribute `name` of the targets.

        The donated inputs, which these replace, are gone after it.
        """
        if on_tpu():
            values = [narrow(v) for v in values]
        return self._run_into(targets, name, self._pick_states(values), self._pick_rest(values))

    def _run_into(
        self, targets: Sequence[Any], name: str, states: Sequence[Any], rest: Sequence[Any]
    ) -> list[Any]:
        count = len(self._graph.outputs) - len(targets)
        boxes = [*targets, *[SimpleNamespace() for _ in range(count)]]
        before, device = swap_x64(True), swap_device(self._device)
        try:
            run = map(self._jitted, (states,), (rest,))
            # In one go, without Python's loop: an interrupt between the program, which ends the
            # old arrays, and the storing of the new ones would leave nothing behind.
            deque(map(setattr, boxes, repeat(name), chain.from_iterable(run)), maxlen=0)
        finally:
            restore_device(device)
            restore_x64(before)
        return list(map(attrgetter(name), boxes))

    def copy(self, a: Any) -> Any:
        """Return an array that can be donated without loss of `a`."""
        with x64(True):
            return jax.numpy.copy(a)

    # --- to be read

    def _trace(self, jitted: Any = None) -> Any:
        keys = self._graph.input_keys
        structs = [
            jax.ShapeDtypeStruct((), narrow_type(_NUMBERS[k]), weak_type=True)
            if isinstance(k, type)
            else jax.ShapeDtypeStruct(*k)
            for k in keys
        ]
        with x64(True), jax.default_device(self._device):
            return (jitted or self._jitted).trace(
                self._pick_states(structs), self._pick_rest(structs)
            )

    def _lower(self, jitted: Any = None) -> Any:
        traced = self._trace(jitted)
        with x64(True), jax.default_device(self._device):
            return traced.lower()

    def stablehlo(self) -> str:
        """Return the program as StableHLO, as it goes to XLA."""
        return self._lower().as_text()

    def hlo(self) -> str:
        """Return the program as XLA optimized it."""
        return self._lower().compile().as_text()

    def account(self) -> Account:
        """Return XLA's account of the program, its work by the calls of the graph."""
        from multitorch_jax.account import fill, scope

        found = Account()
        with without_cache():
            fill(found, self._lower(self._jit(scope=scope)).compile())
        return found
