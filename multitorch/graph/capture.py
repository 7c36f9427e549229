"""`compile`: record the function at every call, look the recording up, run its executable."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from multitorch.autograd import tape
from multitorch.autograd.tape import Node, Output
from multitorch.backend import registry
from multitorch.graph.audit import Audit
from multitorch.graph.reach import Unknown
from multitorch.graph.recording import Recording
from multitorch.graph.skip import MISS, Evidence, Plan, own
from multitorch.graph.sym import Sym
from multitorch.ops import apply as dispatch
from multitorch.random.generator import draw_count

_thread = threading.local()
_lock = threading.Lock()
PATIENCE = 8
"""How many calls are watched in vain before a function is recorded at every call."""
PLANS = 8
"""How many plans one function keeps."""


def _world(dev: Any) -> Any:
    """Return the world in which this thread computes for a device."""
    recording = getattr(_thread, "recording", None)
    if recording is None or dev.type == "meta":
        return dev.backend
    if recording.dev is None or recording.dev.type == "cpu":
        recording.dev = dev
    if recording.dev is not dev and dev.type != "cpu":
        raise RuntimeError(
            f"a compiled function works on one device: it began on {recording.dev}, and now uses "
            f"{dev}"
        )
    return recording


def _count(change: int) -> None:
    """Switch the look-up of recordings on while some thread records."""
    with _lock:
        dispatch.capturing += change
        tape.Engine.recording = staticmethod(_world) if dispatch.capturing else None


class _Recorded:
    """The block in which this thread's calls go into a recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def __enter__(self) -> Recording:
        _thread.recording = self._recording
        _count(1)
        return self._recording

    def __exit__(self, *exc: object) -> None:
        _thread.recording = None
        _count(-1)


def _tensors(value: Any) -> list[Any]:
    """List the tensors inside nested tuples, lists and dicts."""
    if isinstance(value, dispatch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [t for item in value for t in _tensors(item)]


class Compiled:
    """A function that runs as one XLA program for each different recording of it."""

    def __init__(self, function: Callable) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._programs: dict[Any, Callable] = {}
        self._plans: list[Plan] = []
        self._evidence: dict[Any, Evidence] = {}  # by the signature of the recording
        self._patience = PATIENCE
        self.skipped = 0
        """How many calls ran without being recorded."""
        self.why_recorded: str | None = None
        """Why calls are recorded rather than skipped, if something stands against it."""
        self.graph: Any = None
        """The graph of the last call."""

    @property
    def compiles(self) -> int:
        """How many programs have been compiled so far."""
        return len(self._programs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if getattr(_thread, "recording", None) is not None:
            return self._function(*args, **kwargs)
        for plan in self._plans:
            result = plan.run((args, kwargs))
            if result is not MISS:
                self.skipped += 1
                return result
        return self._record(args, kwargs)

    def _record(self, args: tuple, kwargs: dict) -> Any:
        given = _tensors([args, kwargs])
        recording = Recording(self._device(given))
        audit = self._begin_audit()
        drawn = draw_count()
        try:
            with _Recorded(recording):
                for t in given:
                    recording.lift(t)
                with audit or nullcontext():
                    result = self._function(*args, **kwargs)
            outputs = recording.outputs()
            nodes = _saved_symbols([t for t, _, _ in outputs])
        except BaseException:
            recording.restore()
            raise
        recording.restore()
        recording.drawn = draw_count() - drawn
        program = self._run(recording, outputs, nodes)
        if audit is not None and program is not None:
            self._end_audit(audit, (args, kwargs), recording, (outputs, nodes, result))
        return result

    # --- skipping the recording

    def _begin_audit(self) -> Audit | None:
        """Return how to watch this call, None if nothing can be learned from it."""
        if not self._programs or not self._patience:
            return None
        for evidence in self._evidence.values():
            evidence.begin()
        return Audit()

    def _end_audit(self, audit: Audit, args: tuple, recording: Recording, found: tuple) -> None:
        """Make a plan if this call and one before it show that the next can be skipped."""
        outputs, nodes, result = found
        key = recording.graph.signature()
        evidence = self._evidence.pop(key, None)
        try:
            if nodes:
                raise Unknown("a result that backward can be called on")
            if evidence is not None and evidence.held:
                plan = Plan(evidence, args, recording, outputs, result, self._programs[key])
                self._plans.insert(0, plan)
                del self._plans[PLANS:]
                self._patience, self.why_recorded = PATIENCE, None
                return
            if len(self._evidence) < PLANS:
                self._evidence[key] = Evidence((self._function, args), audit)
        except Unknown as reason:
            self.why_recorded = str(reason)
        self._patience -= 1

    def _device(self, given: list[Any]) -> Any:
        """Return the device of the arguments; None if only the recording will tell."""
        owner = getattr(self._function, "__self__", self._function)
        if not given and hasattr(owner, "parameters"):
            given = list(owner.parameters())
        if given:
            devices = [t._dev for t in given if t._dev.type != "cpu"]
            return devices[0] if devices else given[0]._dev
        return None

    def _run(self, recording: Recording, outputs: list, nodes: list) -> Callable | None:
        graph = recording.graph
        wanted: dict[int, None] = {symbol.id: None for _, _, symbol in outputs}
        for node in nodes:
            wanted.update((s.id, None) for s in _symbols(node.saved))
        graph.outputs = list(wanted)
        self.graph = graph
        if not wanted:
            return None
        key = graph.signature()
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._compile(recording)
        values = dict(zip(graph.outputs, program(recording.values), strict=True))
        _deliver(outputs, nodes, values)
        return program

    def _compile(self, recording: Recording) -> Callable:
        backend = recording.dev.backend
        if backend.compiles_with:
            backend = registry.backend(backend.compiles_with)
        return backend.compile(recording.graph, device=recording.dev)


def _symbols(saved: Any) -> list[Sym]:
    if saved.__class__ is Sym:
        return [saved]
    if saved.__class__ is tuple:
        return [s for value in saved for s in _symbols(value)]
    return []


def _saved_symbols(tensors: list[Any]) -> list[Node]:
    """List the nodes behind tensors that outlive the recording and have saved symbols."""
    stack = [t._node for t in tensors]
    seen: set[Any] = set()
    found = []
    while stack:
        node = stack.pop()
        if node.__class__ is Output:
            node = node.node
        if node.__class__ is not Node or node in seen:
            continue
        seen.add(node)
        if node.saved and _symbols(node.saved):
            found.append(node)
        stack += node.edges
    return found


def _replace(saved: Any, values: dict[int, Any], backend: Any) -> Any:
    if saved.__class__ is Sym:
        return own(values[saved.id], backend)
    if saved.__class__ is tuple:
        return tuple([_replace(s, values, backend) for s in saved])
    return saved


def _deliver(outputs: list, nodes: list, values: dict[int, Any]) -> None:
    """Give tensors and nodes the values that the program computed."""
    fresh: dict[int, Any] = {}
    for t, before, symbol in outputs:
        value = values[symbol.id]
        if before is not None and t._dev.backend.mutable:
            t._a = before
            if t._view is None or before.base is None:
                np.copyto(before, np.asarray(value))
                tape.log_write(t._dev.backend.buffer(before))
        else:
            if symbol.id not in fresh:
                fresh[symbol.id] = own(value, t._dev.backend)
            t._a = fresh[symbol.id]
    for node in nodes:
        node.saved = _replace(node.saved, values | fresh, node.dev.backend)


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = True,
    dynamic: bool | None = None,
    backend: Any = None,
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
) -> Any:
    """Turn a function of tensors into one XLA program; usable as a decorator.

    The function is recorded at every call, so that Python always runs; a program is compiled when
    the recording differs from all before. Parameters, buffers and optimizer state that it reaches
    are inputs of the program, and what it writes to them is written back.

    >>> @multitorch.compile
    ... def double(x):
    ...     return x * 2
    """
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode,
            options=options, disable=disable,
        )  # fmt: skip
    if disable:
        return model
    if dynamic:
        raise NotImplementedError("compile(dynamic=True) is not there yet")
    return Compiled(model)
