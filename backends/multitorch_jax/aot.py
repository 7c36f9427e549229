"""Compile a recorded graph for a TPU that need not be there, and read off what it would cost."""

from __future__ import annotations

import math
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from multitorch.backend.ahead import Ahead
from multitorch_jax.account import analysis, fill, scope
from multitorch_jax.cache import without_cache
from multitorch_jax.guard import why_not
from multitorch_jax.jit import x64
from multitorch_jax.topology import Chip, chip

_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64, complex: np.complex64}
"""What Python numbers are on a TPU, which has no complex128."""
NO_PROGRAM = "XLA has no program for it"


class Job:
    """One graph on its way to one chip."""

    def __init__(
        self,
        world: Any,
        graph: Any,
        shapes: Mapping[int, Any],
        target: Chip,
        donated: Sequence[int] = (),
    ) -> None:
        self.world, self.graph, self.target = world, graph, target
        self.donated = [graph.inputs[i] for i in donated]
        self.shapes: dict[int, Any] = {n: _struct(s) for n, s in shapes.items()}
        self.shapes |= {n: _struct(k) for n, k in zip(graph.inputs, graph.input_keys, strict=True)}
        self.sharding = jax.sharding.SingleDeviceSharding(target.device)
        self.host: dict[int, str] = {}
        self._verdicts: dict[Any, str] = {}

    # --- what the chip cannot do

    def find_host_calls(self) -> None:
        """Note the calls whose kernels run on the host whatever the device."""
        for i, call in enumerate(self.graph.calls):
            if getattr(getattr(self.world, call.name), "host", False):
                self.host[i] = NO_PROGRAM

    def find_culprits(self) -> bool:
        """Try call by call to find those that make the whole fail; return whether any does."""
        before = len(self.host)
        for i, call in enumerate(self.graph.calls):
            if i not in self.host:
                reason = self._verdict(call)
                if reason:
                    self.host[i] = reason
        return len(self.host) > before

    def _verdict(self, call: Any) -> str:
        structs = _map(call.ins, self.shapes.get)
        key = call.name, call.params, str(structs)
        if key not in self._verdicts:
            params = dict(call.params)
            kernel = getattr(self.world, call.name)
            try:
                self._finish(self._jit(lambda *ins: kernel(*ins, **params)).trace(*structs))
                self._verdicts[key] = ""
            except (NotImplementedError, jax.errors.JaxRuntimeError) as error:
                self._verdicts[key] = "" if _is_memory(error) else _first_line(error)
        return self._verdicts[key]

    def _finish(self, traced: Any) -> Any:
        reason = why_not(traced)
        if reason:
            raise NotImplementedError(reason)
        with warnings.catch_warnings():  # of states that no output can take the place of
            warnings.simplefilter("ignore")
            return traced.lower().compile()

    # --- the program

    def _jit(self, function: Callable, **options: Any) -> Any:
        return jax.jit(function, in_shardings=self.sharding, out_shardings=self.sharding, **options)

    def program(self) -> tuple[Callable, list[int], list[int]]:
        """Return the graph without its calls on the host, and the numbers of its two arguments.

        The first are the donated inputs. What the host computes comes in, what it computes from
        goes out.
        """
        calls, inputs = self.graph.calls, self.graph.inputs
        received = [n for i in sorted(self.host) for n in _numbers(calls[i].outs)]
        sent = [n for i in sorted(self.host) for n in _numbers(calls[i].ins)]
        given = {*inputs, *received}
        wanted = [n for n in dict.fromkeys((*self.graph.outputs, *sent)) if n not in given]
        states = self.donated
        rest = [n for n in (*inputs, *received) if n not in set(states)]

        def program(first: list[Any], second: list[Any]) -> list[Any]:
            env: dict[Any, Any] = dict(zip([*states, *rest], [*first, *second], strict=True))
            self.graph.run(self.world, env, scope, self.host)
            return [env[n] for n in wanted]

        return program, states, rest

    def trace(self) -> Any:
        """Return the program in JAX's own form."""
        program, states, rest = self.program()
        jitted = self._jit(program, donate_argnums=(0,) if states else ())
        return jitted.trace([self.shapes[n] for n in states], [self.shapes[n] for n in rest])

    def compile(self) -> Any:
        """Return the compiled program, leaving to the host what the compiler cannot do."""
        self.find_host_calls()
        for _ in range(3):  # a call may fail to lower, and another to compile
            try:
                return self._finish(self.trace())
            except (NotImplementedError, jax.errors.JaxRuntimeError) as error:
                if _is_memory(error) or not self.find_culprits():
                    raise
        raise RuntimeError("the TPU compiler fails on the program, but on none of its calls alone")


def compile_ahead(
    world: Any,
    graph: Any,
    topology: str,
    shapes: Mapping[int, tuple[Any, Any]],
    donated: Sequence[int] = (),
) -> Ahead:
    """Compile a graph for one chip of a topology: see `Backend.compile_ahead`."""
    target = chip(topology)
    job = Job(world, graph, shapes, target, donated)
    result = Ahead(
        chip=target.device.device_kind, chips=target.count, capacity=target.generation.capacity
    )
    began = time.perf_counter()
    with x64(True), without_cache():
        try:
            _account(result, job)
        except jax.errors.JaxRuntimeError as error:
            if not _is_memory(error):
                raise
            _refused(result, job, str(error))
    result.host = job.host
    result.compile_seconds = time.perf_counter() - began
    return result


def _account(result: Ahead, job: Job) -> None:
    """Compile a job, and fill in what the compiler says of its program."""
    compiled, generation = job.compile(), job.target.generation
    fill(result, compiled, generation.clock, generation.bandwidth)
    told = getattr(compiled.memory_analysis(), "peak_memory_in_bytes", 0)
    result.peak_bytes = told or result.peak_bytes
    result.seconds = _seconds(analysis(compiled).get("optimal_seconds", 0.0), result)


def _seconds(told: float, result: Ahead) -> float:
    """Return the compiler's seconds: operations that it cannot judge count as -1 in its sum."""
    if told < 0:
        told -= math.floor(told)
    return told if 0 < told < 1 else sum(o.seconds for o in result.operations)


def _refused(result: Ahead, job: Job, message: str) -> None:
    """Fill in what is known of a program that does not fit."""
    result.out_of_memory = message.partition(": ")[2] or message
    program, states, rest = job.program()
    given = [job.shapes[n] for n in states], [job.shapes[n] for n in rest]
    result.argument_bytes = sum(_size(s) for part in given for s in part)
    result.output_bytes = sum(_size(s) for s in jax.eval_shape(program, *given))
    result.alias_bytes = sum(_size(s) for s in given[0])
    needed = re.search(r"\(([\d.]+)([KMGT]?)\) exceeds", message) or re.search(
        r"Used ([\d.]+)([KMGT]?) of", message
    )
    known = result.argument_bytes + result.output_bytes - result.alias_bytes
    if needed:
        unit = 1 << (10 * " KMGT".index(needed.group(2) or " "))
        result.peak_bytes = int(float(needed.group(1)) * unit)
    else:
        result.peak_bytes = max(known, result.capacity + 1)
    result.temporary_bytes = max(result.peak_bytes - known, 0)


# --- small parts


def _struct(key: Any) -> Any:
    if isinstance(key, tuple):
        return jax.ShapeDtypeStruct(key[0], key[1])
    return jax.ShapeDtypeStruct((), _NUMBERS[key], weak_type=True)


def _size(struct: Any) -> int:
    return math.prod(struct.shape) * np.dtype(struct.dtype).itemsize


def _map(value: Any, function: Callable) -> Any:
    if isinstance(value, tuple):
        return tuple(_map(v, function) for v in value)
    return None if value is None else function(value)


def _numbers(value: Any) -> list[int]:
    """List the numbers of values in a call's `ins` or `outs`."""
    if isinstance(value, tuple):
        return [n for v in value for n in _numbers(v)]
    return [] if value is None else [value]


def _is_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error)


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(": @ 0x")[0] or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "…"
