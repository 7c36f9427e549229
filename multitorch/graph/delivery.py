"""What a program computed goes to where it belongs: tensors, and nodes of the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch.autograd import tape
from multitorch.autograd.tape import Node, Output
from multitorch.graph.recording import Recording
from multitorch.graph.skip import own
from multitorch.graph.sym import Sym
from multitorch.ops.view import replay


def symbols_in(saved: Any) -> list[Sym]:
    if saved.__class__ is Sym:
        return [saved]
    if saved.__class__ is tuple:
        return [s for value in saved for s in symbols_in(value)]
    return []


def nodes_to_fill(tensors: list[Any]) -> list[Node]:
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
        if node.saved and symbols_in(node.saved):
            found.append(node)
        stack += node.edges
    return found


def renewals(recording: Recording, outputs: list) -> dict[int, tuple[int, Any]]:
    """Map outputs to the inputs that they replace, and their tensors, in the inputs' order."""
    slots = {number: i for i, number in enumerate(recording.graph.inputs)}
    found: dict[int, tuple[int, Any]] = {}  # output: place of the input, tensor
    taken: set[int] = set()
    drawn = {id(t) for t, _ in recording.redraws}
    for t, before, symbol in outputs:
        if before is None or t._view is not None or id(t) in drawn:
            continue
        slot = slots.get(recording.lifted[id(t)][2].id)
        same = before.shape == symbol.shape and before.dtype == symbol.dtype
        if slot is not None and same and symbol.id not in found and slot not in taken:
            found[symbol.id] = slot, t
            taken.add(slot)
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def replaced_states(recording: Recording, outputs: list) -> tuple[int, ...]:
    """List the inputs that are states which outputs replace."""
    return tuple([slot for slot, _ in renewals(recording, outputs).values()])


def _replace(saved: Any, values: dict[int, Any], recording: Recording) -> Any:
    if saved.__class__ is Sym:
        if saved.segment == recording.segment:
            value = values[saved.id]
            # what came in is kept as it is, so that a later write to it is noticed
            return value if saved.id in recording.given else own(value, recording.dev.backend)
        return own(recording.past[saved.segment, saved.id], recording.dev.backend)
    if saved.__class__ is tuple:
        return tuple([_replace(s, values, recording) for s in saved])
    return saved


def deliver(
    outputs: list, nodes: list, values: dict[int, Any], recording: Recording, shared: bool
) -> None:
    """Give tensors and nodes the values that the program computed.

    Are they shared, because the call goes on, then a tensor gets a copy; as it does of a state.
    """
    fresh: dict[int, Any] = {}
    states = {id(a) for a in recording.values}
    for t, before, symbol in outputs:
        value = values[symbol.id]
        if before is not None and t._dev.backend.mutable:
            t._a = before
            if t._view is None or before.base is None:
                if value is not before:
                    np.copyto(before, value)
                tape.log_write(t._dev.backend.buffer(before))
        else:
            if before is not None:
                tape.log_write(before, since=recording.began)
            if symbol.id not in fresh:
                copied = shared or id(value) in states
                fresh[symbol.id] = own(value, t._dev.backend) if copied else value
            t._a = fresh[symbol.id]
    for t, before, _ in outputs:
        if before is None and t._view is not None and t._dev.backend.mutable:
            # a view shares the memory of its base, wherever the base came from
            base, steps = t._view[:2]
            if base._a.__class__ is not Sym:
                t._a = replay(t._dev.backend, base._a, steps)
    for node in nodes:
        node.saved = _replace(node.saved, values | fresh, recording)
