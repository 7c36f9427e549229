"""Skip the recording of a call that can only be recorded as before.

A `Plan` belongs to one program. It knows where the program's inputs come from (arguments, tensors
within reach, draws of generators), what the Python code could read, and which effects it has. If
all of that is as it was, the program runs at once; else the call is recorded, as it may always be.

A plan is made on evidence: two calls in a row whose code was watched (`Audit`), during which
nothing within reach (`Reach`) changed but the values of tensors and `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, is_
from types import FunctionType
from typing import Any
from weakref import ref

import numpy as np

from multitorch import dtypes
from multitorch.autograd import modes, tape
from multitorch.autograd.tape import LEAF
from multitorch.device import get_default_device
from multitorch.graph.audit import Audit
from multitorch.graph.memory import any_shared, settle
from multitorch.graph.reach import SCALARS, Reach, Unknown
from multitorch.ops import apply as dispatch
from multitorch.ops.creation import is_anchor
from multitorch.ops.random_draw import key_of
from multitorch.ops.view import live_views
from multitorch.random import generator

MISS: Any = object()
_array_of, _node_of = attrgetter("_a"), attrgetter("_node")


def front() -> tuple:
    """Return the settings of the front end that any code may read."""
    return (
        modes.is_grad_enabled(),
        modes.is_inference_mode_enabled(),
        dtypes.get_default_dtype(),
        get_default_device(),
        generator.use_cpu_stream.enabled,
    )


# --- arguments ------------------------------------------------------------------------------------


def _tensor_spec(t: Any) -> tuple:
    node = t._node
    if node is not None and node is not LEAF:
        raise Unknown("an argument that was computed from tensors that require grad")
    return t.__class__, t._dtype, t._dev, t._a.shape, node


def spec_of(value: Any, tensors: list[Any]) -> Any:
    """Return a description of arguments that `fits` compares with; list their tensors."""
    if isinstance(value, dispatch.Tensor):
        tensors.append(value)
        return _tensor_spec(value)
    if value.__class__ in (tuple, list):
        return value.__class__, [spec_of(v, tensors) for v in value]
    if value.__class__ is dict:
        return dict, tuple(value), [spec_of(v, tensors) for v in value.values()]
    return value


def fits(spec: Any, value: Any, tensors: list[Any]) -> bool:
    """Whether arguments are like those that `spec` describes; list their tensors."""
    kind = value.__class__
    if isinstance(value, dispatch.Tensor):
        tensors.append(value)
        return spec.__class__ is tuple and len(spec) == 5 and spec == (
            kind, value._dtype, value._dev, value._a.shape, value._node
        )  # fmt: skip
    if kind is tuple or kind is list:
        if spec.__class__ is not tuple or len(spec) != 2 or spec[0] is not kind:
            return False
        parts = spec[1]
        return len(parts) == len(value) and all(
            [fits(s, v, tensors) for s, v in zip(parts, value, strict=True)]
        )
    if kind is dict:
        if spec.__class__ is not tuple or len(spec) != 3 or spec[1] != tuple(value):
            return False
        return all([fits(s, v, tensors) for s, v in zip(spec[2], value.values(), strict=True)])
    return value is spec or (
        kind is spec.__class__ and isinstance(value, SCALARS) and value == spec
    )


def flat_spec(spec: Any) -> list[tuple] | None:
    """Return the descriptions of tensors that are all the arguments, given by position."""
    positional, named = spec[1]
    tensors = positional[1]
    if named[1] or not all([s.__class__ is tuple and len(s) == 5 for s in tensors]):
        return None
    return tensors


def fits_flat(specs: list[tuple], values: list[Any]) -> bool:
    """Whether tensors are like those that the descriptions are of."""
    if len(specs) != len(values):
        return False
    for (kind, dtype, dev, shape, node), t in zip(specs, values, strict=True):
        if t.__class__ is not kind or t._dtype is not dtype or t._dev is not dev:
            return False
        if t._a.shape != shape or t._node is not node:
            return False
    return True


# --- evidence -------------------------------------------------------------------------------------


class Evidence:
    """What one watched call showed: the code that ran, and all that it can reach."""

    def __init__(self, roots: Any, audit: Audit) -> None:
        self.reach = Reach(audit.names)
        self.reach.walk(*roots)
        strange = audit.codes - self.reach.codes
        for code in strange:
            place = f"{code.co_filename}:{code.co_firstlineno}"
            raise Unknown(f"it runs {code.co_qualname} ({place}), which is not within reach")
        audit.check(self.reach.seen)
        self.tensors = [t for t in self.reach.seen.values() if isinstance(t, dispatch.Tensor)]
        self.grads: dict[int, Any] = {}
        self.held = False
        """Whether at the beginning of the present call all was as the first one had left it."""

    def begin(self) -> None:
        """Note the state before a call."""
        self.grads = {id(t): t._grad for t in self.tensors}
        self.held = self.reach.holds() and self.reach.modules_hold()


class Plan:
    """The program of one recording, and how to run it without recording anew."""

    def __init__(
        self, evidence: Evidence, args: Any, recording: Any, outputs: list, result: Any,
        program: Any,
    ) -> None:  # fmt: skip
        if not (evidence.reach.holds() and evidence.reach.modules_hold()):
            raise Unknown("the call changes Python objects that are older than it")
        self.program, self.reach, self.dev = program, evidence.reach, recording.dev
        self.front, self.changes = front(), modes.changes[0]
        tensors: list[Any] = []
        self.spec = spec_of(args, tensors)
        self.flat = flat_spec(self.spec)
        self.given = {id(t): i for i, t in enumerate(tensors)}
        if len(self.given) != len(tensors):
            raise Unknown("one tensor is given as two arguments")
        self.known = {id(t) for t in evidence.tensors} - set(self.given)
        self._writes(recording, outputs, self._sources(evidence, recording))
        self._gradients(evidence)
        at = {number: i for i, number in enumerate(recording.graph.outputs)}
        self.born = {id(t): at[s.id] for t, before, s in outputs if before is None}
        self._fresh: dict[int, Any] = {}
        self.result = self._result_spec(result)
        for _, t in self.new_grads:
            self._mark_fresh(t)
        bases = {id(t._view[0]) for t in self._fresh.values() if t is not None and t._view}
        if self.born.keys() - self._fresh.keys() - bases:
            raise Unknown("a tensor that the call makes is kept somewhere")
        groups = {id(t._view[0] if t._view else t) for t in self._fresh.values()}
        if len(groups) < len(self._fresh):
            raise Unknown("results that share memory")
        self._fresh = {}

    def _sources(self, evidence: Evidence, recording: Any) -> dict[int, Any]:
        """Find out where the inputs come from; return who holds them, by slot.

        A holder is a tensor, or a function that finds it among the arguments of a call.
        """
        slots = {number: i for i, number in enumerate(recording.graph.inputs)}
        self.template = list(recording.values)
        self.donated = getattr(self.program, "donated", ())
        holders: dict[int, Any] = {}
        self.args_at: list[tuple[int, int]] = []  # argument, slot
        self.states: list[Any] = []
        self.slots: list[int] = []
        self.grads_at: list[tuple[Any, int]] = []  # owner of the gradient, slot
        self.redraws: list[tuple[int, Callable]] = []
        self.draws = list(recording.draws)  # slot, generator, how many
        self.keys_at: list[tuple[Any, int]] = []  # generator, slot
        keys = {id(g.key): g for _, g, _ in self.draws}
        redrawn = {id(t): again for t, again in recording.redraws}
        owners = {id(evidence.grads[id(t)]): t for t in evidence.tensors}
        for t, a, symbol in recording.lifted.values():
            slot = slots.get(symbol.id)
            if slot is None or recording.values[slot] is not a:
                if self._only_looks_on(t):
                    continue
                raise Unknown("a tensor that shares memory with another")
            if is_anchor(t):
                continue
            self.template[slot] = None
            if id(t) in self.given:
                self.args_at.append((self.given[id(t)], slot))
                holders[slot] = _argument(self.given[id(t)])
            elif id(t) in redrawn:
                self.redraws.append((slot, redrawn[id(t)]))
            elif id(t) in keys:
                self.keys_at.append((keys[id(t)], slot))
            elif t._view is not None:
                raise Unknown("a view that is older than the call")
            elif id(t) in owners:
                self.grads_at.append((owners[id(t)], slot))
                holders[slot] = _gradient(owners[id(t)])
            elif id(t) not in self.known:
                raise Unknown("a tensor that is not within reach")
            elif t._node is not None and t._node is not LEAF:
                raise Unknown("a tensor that was computed from tensors that require grad")
            else:
                self.states.append(t)
                self.slots.append(slot)
                holders[slot] = t
        if recording.drawn != recording.accounted or len(self.redraws) != len(recording.redraws):
            raise Unknown("random numbers whose source is not known")
        self.nodes = [t._node for t in self.states]
        self.seen: list[tuple[Any, bool]] = [(None, False)] * len(self.args_at)
        """Per argument its array in the last call, and whether it was settled."""
        self.unknown: list[Any] = [None] * len(self.states)
        self.arrays = self.unknown
        self.group = tape.WriteGroup(())
        """On mutable backends: what owns the memory of the states that are written to."""
        self.shapes = [t._a.shape for t in self.states]
        self.dtypes = [t._dtype for t in self.states]
        self.devices = [t._dev for t in self.states]
        return holders

    def _writes(self, recording: Any, outputs: list, holders: dict[int, Any]) -> None:
        """Find out which older tensors are written to; most of them the program itself updates."""
        if not holders.keys() >= set(self.donated):
            raise Unknown("a write to a tensor that is not within reach")
        self.targets = [holders[slot] for slot in self.donated]
        self.moving = any(isinstance(t, FunctionType) for t in self.targets)
        slots = {number: i for i, number in enumerate(recording.graph.inputs)}
        at = {number: i for i, number in enumerate(recording.graph.outputs)}
        drawn = {id(t) for t, _ in recording.redraws}
        mutable = self.dev.backend.mutable
        self.copies: list[tuple[int, Any]] = []  # output, who takes it beside another
        self.written: list[Any] = []
        self.args_written: list[int] = []
        for t, before, symbol in outputs:
            if before is None or id(t) in drawn:
                continue
            if self._only_looks_on(t):
                continue
            if t._view is not None or not mutable and any(True for _ in live_views(t)):
                raise Unknown("a write to a tensor that has views")
            slot = slots[recording.lifted[id(t)][2].id]
            if slot not in holders:
                raise Unknown("a write to a tensor that is not within reach")
            if slot not in self.donated:
                self.copies.append((at[symbol.id], holders[slot]))
            if id(t) in self.given:
                self.args_written.append(self.given[id(t)])
            elif holders[slot] is t:
                self.written.append(t)

    def _only_looks_on(self, t: Any) -> bool:
        """Whether a tensor is a view that the code does not know, of memory that is written to."""
        unknown = id(t) not in self.known and id(t) not in self.given
        return t._view is not None and self.dev.backend.mutable and unknown

    def _gradients(self, evidence: Evidence) -> None:
        """Find out which tensors have got another gradient."""
        self.leaves: list[tuple[Any, bool]] = []  # tensor, whether it had no gradient before
        self.new_grads: list[tuple[Any, Any]] = []  # tensor, gradient
        for t in evidence.tensors:
            before = evidence.grads[id(t)]
            if t._node is not LEAF and t._grad is before:
                continue
            if id(t) in self.given:
                raise Unknown("an argument that requires grad")
            self.leaves.append((t, before is None))
            if t._grad is not before:
                self.new_grads.append((t, t._grad))

    # --- results

    def _mark_fresh(self, t: Any) -> None:
        """Check that a tensor which every call makes anew can be made without recording."""
        if t is None or id(t) in self._fresh:
            return
        if id(t) not in self.born or t.__class__ is not dispatch.Tensor or t._hooks:
            raise Unknown("a result that the program does not make")
        node = t._node.node if t._node.__class__ is tape.Output else t._node
        if node is not None and getattr(node, "saved", None) is not None:
            raise Unknown("a result that backward can be called on")
        if t._view is not None and id(t._view[0]) not in self.born and t._view[0]._a is not None:
            if id(t._view[0]) in self.known:
                raise Unknown("a result that is a view of an older tensor")
        self._fresh[id(t)] = t

    def _result_spec(self, value: Any) -> Any:
        """Return how to build the result: functions of (fresh tensors, arguments)."""
        kind = value.__class__
        if isinstance(value, dispatch.Tensor):
            if id(value) in self.given:
                i = self.given[id(value)]
                return lambda fresh, given: given[i]
            if id(value) in self.known:
                return lambda fresh, given: value
            self._mark_fresh(value)
            at, node = self.born[id(value)], value._node
            return lambda fresh, given: fresh(at, node)
        if kind is tuple or kind is list or hasattr(kind, "_make"):
            parts = [self._result_spec(v) for v in value]
            make = getattr(kind, "_make", kind)
            return lambda fresh, given: make([part(fresh, given) for part in parts])
        if isinstance(value, dict) and kind is dict:
            entries = {k: self._result_spec(v) for k, v in value.items()}
            return lambda fresh, given: {k: part(fresh, given) for k, part in entries.items()}
        if value is None or isinstance(value, SCALARS):
            return lambda fresh, given: value
        raise Unknown(f"a result of type {kind.__name__}")

    # --- running

    def run(self, args: Any) -> Any:
        """Return the result of a call, or MISS if it must be recorded."""
        if front() != self.front:
            return MISS
        if modes.changes[0] != self.changes:
            if not self.reach.modules_hold():
                return MISS
            self.changes = modes.changes[0]
        if self.flat is not None:
            given = list(args[0])
            if args[1] or not fits_flat(self.flat, given):
                return MISS
        else:
            given = []
            if not fits(self.spec, args, given):
                return MISS
        ids = {id(t) for t in given}
        if len(ids) != len(given) or not self.known.isdisjoint(ids) or not self.reach.holds():
            return MISS
        if not self._same_states() or not self._apart(given, ids):
            return MISS
        values = self.template.copy()
        if not self._fill(values, given):
            return MISS
        results = self._run_program(values, given)
        fresh = _Fresh(results, len(self.donated), self.dev)
        for t, grad in self.new_grads:
            t._grad = None if grad is None else fresh(self.born[id(grad)], None)
        return self.result(fresh, given)

    def _same_states(self) -> bool:
        """Whether the states are as they were, or others that are like them."""
        states, arrays, nodes = self.states, self.arrays, self.nodes
        if all(map(is_, map(_array_of, states), arrays)) and all(
            map(is_, map(_node_of, states), nodes)
        ):
            return True
        arrays = self.unknown.copy()
        for k, t in enumerate(states):
            if t._a.shape != self.shapes[k] or t._dtype is not self.dtypes[k]:
                return False
            if t._node is not nodes[k] or t._dev is not self.devices[k] or t._view is not None:
                return False
            settle(t)
            arrays[k] = t._a
        self.arrays = arrays
        if self.dev.backend.mutable:
            buffer = self.dev.backend.buffer
            self.group = tape.WriteGroup([buffer(t._a) for t in self.written])
        return True

    def _apart(self, given: list[Any], ids: set[int]) -> bool:
        """Whether no argument shares memory with another, or with what the program uses."""
        bases = [id(t._view[0]) for t in given if t._view is not None]
        if bases:
            if not (self.known.isdisjoint(bases) and ids.isdisjoint(bases)):
                return False
            if len(set(bases)) != len(bases) and self.args_written:
                return False
        backend = self.dev.backend
        if not backend.mutable:
            written = [*self.written, *[given[k] for k in self.args_written]]
            return not any(t._views and any(True for _ in live_views(t)) for t in written)
        if not (self.written or self.args_written):
            return True
        buffers = {id(backend.buffer(t._a)) for t in given}
        return buffers.isdisjoint(self.group.ids) and (
            not self.args_written or len(buffers) == len(given)
        )

    def _fill(self, values: list[Any], given: list[Any]) -> bool:
        """Put the inputs in their slots; return False, before anything is drawn, if one differs."""
        if self.dev.backend.mutable:
            self._settle_repeated(given)
        for i, slot in self.args_at:
            values[slot] = given[i]._a
        for slot, a in zip(self.slots, self.arrays, strict=True):
            values[slot] = a
        for t, had_none in self.leaves:
            if (t._grad is None) is not had_none:
                return False
        for t, slot in self.grads_at:
            grad = t._grad
            if grad._a.shape != t._a.shape or grad._dtype is not t._dtype or grad._node is not None:
                return False
            values[slot] = grad._a
        for g, slot in self.keys_at:
            values[slot] = key_of(g, self.dev)._a
        for slot, g, count in self.draws:
            values[slot] = g.next_draw(count)
        for slot, again in self.redraws:
            values[slot] = again()
        return True

    def _settle_repeated(self, given: list[Any]) -> None:
        """Treat an argument that comes a second time as a state: it may come again."""
        for k, (i, _) in enumerate(self.args_at):
            t, (reference, tried) = given[i], self.seen[k]
            if reference is None or reference() is not t._a:
                self.seen[k] = ref(t._a), False
            elif not tried:
                settle(t)
                self.seen[k] = ref(t._a), True

    def _run_program(self, values: list[Any], given: list[Any]) -> list[Any]:
        """Run the program, give older tensors their new values, and return the outputs."""
        if not self.donated:
            results = self.program(values)
        else:
            targets = self.targets
            if self.moving:
                targets = [t(given) if isinstance(t, FunctionType) else t for t in targets]
            if self.dev.backend.mutable:
                results = self.program.update(values, targets, "_a")
                self._log(targets)
            else:
                self._keep_shared(values)
                results = self.program.update(values, targets, "_a")
            results[: len(targets)] = map(_array_of, targets)
        for i, t in self.copies:
            store(t(given) if isinstance(t, FunctionType) else t, results[i])
        if not self.dev.backend.mutable:
            self.arrays = list(map(_array_of, self.states))
        return results

    def _log(self, targets: list[Any]) -> None:
        self.group.log()
        if self.moving:
            for t in targets:
                tape.log_write(t._dev.backend.buffer(t._a))

    def _keep_shared(self, values: list[Any]) -> None:
        """Copy what the program is about to take, if more than its tensor refers to it."""
        self.arrays = self.unknown
        if any_shared(values, self.donated):
            for slot in self.donated:
                if any_shared(values, (slot,)):
                    tape.log_write(values[slot])
                    values[slot] = self.program.copy(values[slot])


def _argument(i: int) -> Callable:
    return lambda given: given[i]


def _gradient(owner: Any) -> Callable:
    return lambda given: owner._grad


class _Fresh:
    """Makes the tensors that every call makes anew, each once."""

    def __init__(self, results: Any, states: int, dev: Any) -> None:
        self._results, self._states, self._dev = results, states, dev
        self._made: dict[int, Any] = {}

    def __call__(self, at: int, node: Any) -> Any:
        t = self._made.get(at)
        if t is None:
            dev = self._dev
            a = self._results[at]
            if at < self._states:  # a state has the same value
                a = own(a, dev.backend)
            t = self._made[at] = dispatch.wrap(a, dev)
            t._node = node
        return t


def own(a: Any, backend: Any) -> Any:
    """Return a copy of a value that somebody could write to."""
    return np.array(a) if backend.mutable else a


def store(t: Any, value: Any) -> None:
    """Give a tensor that is no view the value that a program computed for it."""
    backend = t._dev.backend
    if backend.mutable:
        if value is not t._a:
            np.copyto(t._a, value)
        tape.log_write(backend.buffer(t._a))
    else:
        tape.log_write(t._a)
        t._a = value
