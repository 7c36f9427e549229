"""`compile`: record the function at every call, look the recording up, run its executable."""

from __future__ import annotations

import functools
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from multitorch.autograd import tape
from multitorch.backend import registry
from multitorch.graph.arguments import argument_names, given_tensors, labels, tensors_in, unwrap
from multitorch.graph.audit import Audit
from multitorch.graph.buckets import Buckets, Dynamic, Padded
from multitorch.graph.cost import Cost
from multitorch.graph.delivery import deliver, nodes_to_fill, renewals, symbols_in
from multitorch.graph.graph import Graph
from multitorch.graph.memory import held_elsewhere
from multitorch.graph.reach import Unknown
from multitorch.graph.recording import Recording
from multitorch.graph.report import MANY, Compilation, cause, log, note, only_shapes_change
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


def _enter(node: Any) -> None:
    """Note whose derivative is recorded from here on: that of a node, or with None of none."""
    recording = getattr(_thread, "recording", None)
    if recording is not None:
        recording.enter_node(node)


tape.Engine.enter = staticmethod(_enter)


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
        self._before = getattr(_thread, "recording", None)
        _thread.recording = self._recording
        _count(1)
        return self._recording

    def __exit__(self, *exc: object) -> None:
        _thread.recording = self._before
        _count(-1)


class Compiled:
    """A function that runs as one XLA program for each different recording of it."""

    def __init__(
        self,
        function: Callable,
        fullgraph: bool = False,
        max_compiles: int | None = None,
        dynamic: Dynamic = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function, self._fullgraph, self._most = function, fullgraph, max_compiles
        self._programs: dict[Any, Callable] = {}
        self._buckets = Buckets(dynamic) if dynamic else None
        self._graphs: list[Graph] = []
        self._causes: list[str] = []
        self.breaks: dict[str, int] = {}
        """How often a graph ended early, by the user's line."""
        self._warned: set[str] = set()
        self._plans: list[Plan] = []
        self._evidence: dict[Any, Evidence] = {}  # by the signature of the recording
        self._patience = PATIENCE
        self.skipped = 0
        """How many calls ran without being recorded."""
        self.why_recorded: str | None = None
        """Why calls are recorded rather than skipped, if something stands against it."""
        self.graph: Any = None
        """The graph of the last recording; printed as Python with the user's lines."""
        self._latest: Any = None

    @property
    def stablehlo(self) -> str:
        """The last compiled program as StableHLO, as it went to XLA."""
        return self._program().stablehlo()

    @property
    def hlo(self) -> str:
        """The last compiled program as XLA optimized it."""
        return self._program().hlo()

    def cost(self) -> Cost:
        """Return what the last compiled program costs: flops, bytes, peak memory, by your lines."""
        return Cost(self._program().account(), self._graphs[-1])

    @property
    def donated(self) -> int:
        """How many states give their memory to the last compiled program's results."""
        return len(self._program().donated)

    def _program(self) -> Any:
        if self._latest is None:
            raise RuntimeError(f"{self._name} has not been compiled yet: call it once")
        return self._latest

    @property
    def compiles(self) -> int:
        """How many programs have been compiled so far."""
        return len(self._programs)

    def __getattr__(self, name: str) -> Any:
        # a compiled module still is one: parameters(), train(), state_dict() …
        return getattr(self.__dict__["_function"], name)

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
        given = tensors_in([args, kwargs])
        recording = Recording(self._device(given))
        recording.graph.follow(self.graph)
        recording.breaker = None if self._fullgraph else self._break
        recording.warned = self._warned
        audit = self._begin_audit()
        drawn = draw_count()
        try:
            with _Recorded(recording):
                for t in given:
                    recording.lift_argument(t)
                recording.arguments = (args, kwargs)
                with audit or nullcontext():
                    result = self._function(*args, **kwargs)
            outputs = recording.outputs()
            nodes = nodes_to_fill([t for t, _, _ in outputs])
        except BaseException:
            recording.restore()
            raise
        recording.restore()
        recording.drawn = draw_count() - drawn
        key, _ = self._run(recording, outputs, nodes)
        if audit is not None and key is not None:
            self._end_audit(audit, key, (args, kwargs), recording, (outputs, nodes, result))
        recording.finish()
        return result

    def _break(self, recording: Recording, symbols: list[Sym], why: str, remedy: str) -> None:
        """Run what is recorded so far, because values are needed now; then record on."""
        frame = sys._getframe(1)
        place = tape.describe(tape.user_place(frame))
        _check_not_in_backward(frame, place)
        if place not in self.breaks:
            warnings.warn(
                f"{place}: graph break in {self._name}: {why}. What comes before is compiled and "
                f"run, what follows is compiled on its own. Remedy: {remedy}; fullgraph=True makes "
                "this an error.",
                stacklevel=_depth_of_user(frame) + 1,
            )
        self.breaks[place] = self.breaks.get(place, 0) + 1
        outputs = recording.outputs()
        nodes = nodes_to_fill([t for t, _, _ in outputs])
        recording.restore()
        _, values = self._run(recording, outputs, nodes, symbols)
        recording.next_segment(values)

    @property
    def _name(self) -> str:
        return getattr(self._function, "__qualname__", type(self._function).__name__)

    # --- skipping the recording

    def _begin_audit(self) -> Audit | None:
        """Return how to watch this call, None if nothing can be learned from it."""
        if not self._programs or not self._patience:
            return None
        for evidence in self._evidence.values():
            evidence.begin()
        return Audit()

    def _end_audit(
        self, audit: Audit, key: Any, args: tuple, recording: Recording, found: tuple
    ) -> None:
        """Make a plan if this call and one before it show that the next can be skipped."""
        outputs, nodes, result = found
        evidence = self._evidence.pop(key, None)
        try:
            if recording.segment:
                raise Unknown("a graph break")
            if nodes:
                raise Unknown("a result that backward can be called on")
            if evidence is not None and evidence.held:
                plan = Plan(evidence, args, recording, outputs, result, self._known(key))
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

    def _run(
        self, recording: Recording, outputs: list, nodes: list, needed: list[Sym] | None = None
    ) -> tuple[Any, dict[int, Any]]:
        """Run a recording's program; give tensors and nodes their values.

        Returns the program's key, None if there was nothing to run, and all values.
        """
        graph = recording.graph
        renewed = renewals(recording, outputs)
        wanted: dict[int, None] = dict.fromkeys(renewed)
        wanted.update((symbol.id, None) for _, _, symbol in outputs)
        inputs = recording.given = dict(zip(graph.inputs, recording.values, strict=True))
        for node in nodes:
            for s in symbols_in(node.saved):
                if s.segment == recording.segment and s.id not in inputs:
                    wanted[s.id] = None
        wanted.update((s.id, None) for s in needed or ())
        graph.outputs = list(wanted)
        self.graph = graph
        if not wanted and not nodes:
            return None, {}
        donated = tuple([slot for slot, _ in renewed.values()])
        key = graph.signature(), donated
        program = self._known(key) or self._new(recording, key, donated)
        results = self._results(program, recording, outputs, renewed, bool(nodes or needed))
        values = inputs | dict(zip(graph.outputs, results, strict=True))
        deliver(outputs, nodes, values, recording, shared=needed is not None)
        if needed is not None:  # what later graphs may come back to must not change with the states
            values |= {n: own(values[n], recording.dev.backend) for n in renewed}
        return key, values

    def _results(
        self, program: Any, recording: Recording, outputs: list, renewed: dict, kept: bool
    ) -> Sequence[Any]:
        """Run a program; unless the inputs are kept, it gets the states that nobody else holds.

        These are gone then, so that their tensors take the new values at once.
        """
        if kept or self._buckets is not None or recording.dev.backend.mutable:
            return program(recording.values)
        slots, tensors = zip(*renewed.values(), strict=True) if renewed else ((), ())
        return program(recording.values, held_elsewhere(recording, outputs, slots), tensors, "_a")

    def _known(self, key: Any) -> Any:
        """Return the program that runs a recording, if there is one."""
        program = self._programs.get(key)
        if program is None and self._buckets is not None:
            program = self._buckets.get(key)
        return program

    def _new(self, recording: Recording, key: Any, donated: tuple[int, ...]) -> Callable:
        """Return a recording's program: one over padded arguments where that is sound."""
        if self._buckets is None:
            return self._compile(recording, recording.graph, key, donated)
        given = given_tensors(recording, argument_names(self._function))
        rewritten = self._buckets.rewrite(recording, given)
        if isinstance(rewritten, str):
            why = f"dynamic: compiled for these sizes alone: {rewritten}"
            return self._compile(recording, recording.graph, key, donated, why)
        graph = rewritten.graph
        own_key = graph.signature(), donated
        program, first_run = self._programs.get(own_key), None
        if program is None:
            first_run = self._compile(recording, graph, own_key, donated)
            program = self._programs[own_key]
        padded = Padded(rewritten, recording.dev, program)
        self._buckets.keep(key, padded)
        return padded if first_run is None else functools.partial(padded.run, first_run)

    def _compile(
        self, recording: Recording, graph: Graph, key: Any, donated: tuple[int, ...], note: str = ""
    ) -> Callable:
        """Compile a recording's graph; its first run, which takes the time, is reported."""
        backend = recording.dev.backend
        graph.labels = labels(recording, graph, argument_names(self._function))
        why = "; ".join(filter(None, (cause(self._graphs, graph), note)))
        self._causes.append(why)
        if self._most is not None and len(self._causes) > self._most:
            raise RecompileLimit(
                f"{self._name} needs more than max_compiles={self._most} programs:\n"
                + "\n".join(f"  {n}. {c}" for n, c in enumerate(self._causes, 1))
            )
        if backend.compiles_with:
            backend = registry.backend(backend.compiles_with)
        program = backend.compile(graph, device=recording.dev, donated=donated)

        def first_run(values: list[Any], *rest: Any) -> Any:
            began = time.perf_counter()
            results = program(values, *rest)
            backend.sync(*_place_of(recording.dev))
            self._note(graph, why, time.perf_counter() - began)
            self._programs[key] = program
            return results

        self._graphs.append(graph)
        self._programs[key] = self._latest = program
        return first_run

    def _note(self, graph: Graph, why: str, seconds: float) -> None:
        code = getattr(unwrap(self._function), "__code__", None)
        where = (code.co_filename, code.co_firstlineno) if code is not None else ("", 0)
        number, size = len(self._causes), (len(graph.calls), len(graph.inputs))
        note(Compilation(self._name, *where, number, why, seconds, *size))
        if self._buckets is None and only_shapes_change(self._causes) and number == MANY:
            log.warning(
                "%s: %d programs differ in the shapes of arguments alone. Remedy: "
                "compile(dynamic=True), which pads them to a few sizes (buckets); or leave out the "
                "last batch (DataLoader(drop_last=True))",
                self._name,
                number,
            )


class RecompileLimit(RuntimeError):
    """Raised for a function that needs more programs than `max_compiles` allows."""


def is_compiling() -> bool:
    """Return whether this thread runs inside a function that is being compiled."""
    return getattr(_thread, "recording", None) is not None


def _place_of(dev: Any) -> tuple[str, int]:
    return (dev.type, dev.ordinal) if not dev.backend.compiles_with else ("jax", 0)


def _check_not_in_backward(frame: Any, place: str) -> None:
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), tape.Engine):
            raise RuntimeError(
                f"{place}: a hook that runs inside backward needs the value of a tensor, in a "
                "compiled function. Remedy: keep the tensor and read it after the call."
            )
        frame = frame.f_back


def _depth_of_user(frame: Any) -> int:
    """Return how many frames lie between this one and the user's."""
    depth = 1
    while frame is not None and frame.f_code.co_filename not in tape.USER_FILES:
        frame, depth = frame.f_back, depth + 1
    return depth


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: Dynamic = None,
    backend: Any = None,
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
    max_compiles: int | None = None,
) -> Any:
    """Turn a function of tensors into one XLA program; usable as a decorator.

    The function is recorded at every call, unless all that its Python code could read is known to
    be as before; a program is compiled when the recording differs from all before. Parameters,
    buffers and optimizer state that it reaches are inputs of the program, and what it writes to
    them is written back. A value that is needed on the host ends one program and begins another,
    with a warning; `fullgraph=True` makes that an error. More programs than `max_compiles` raise
    `compiler.RecompileLimit`; `compiler.report()` lists them with their causes.

    `dynamic=True` pads dimensions that change to buckets where that is sound, so that a smaller
    last batch needs no program of its own; `dynamic={"x": 0, "ids": (0, 1)}` names the dimensions.

    >>> @multitorch.compile
    ... def double(x):
    ...     return x * 2
    """
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode,
            options=options, disable=disable, max_compiles=max_compiles,
        )  # fmt: skip
    if disable:
        return model
    return Compiled(model, fullgraph, max_compiles, dynamic)
