"""What a stub says of a function: its ways to be called, as signatures with written-out types."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from inspect import Parameter, Signature
from typing import Any

from tests.stubs import annotations
from tests.stubs.overloads import OVERLOADS

_SPELLING = {
    "DType": "dtype", "Device": "device", "Tensors": "Sequence[Tensor]",
    "Callable": "Callable[..., Any]",
}  # fmt: skip
"""The names that sources use for what stubs name otherwise."""


def declared(line: str) -> Signature:
    """Return the signature that a line such as `(x: Tensor, *, n: int = 1) -> Tensor` describes."""
    space: dict[str, Any] = {}
    exec(f"from __future__ import annotations\ndef function{line}: ...", space)
    return inspect.signature(space["function"])


def annotation(value: Any) -> str:
    """Return an annotation of the source in the stubs' spelling, "" if there is none."""
    if value is Parameter.empty:
        return ""
    text = value if isinstance(value, str) else inspect.formatannotation(value)
    return _SPELLING.get(text, text)


def _typed(parameter: Parameter, keys: list[str]) -> Parameter:
    found = annotation(parameter.annotation)
    if found in ("", annotations.ANY, "Sequence[Any]", "Ints"):
        found = annotations.parameter(keys, parameter.name)
        if found == annotations.ANY and annotation(parameter.annotation) == "Sequence[Any]":
            found = "Sequence[Any]"
    if parameter.default is None and found != annotations.ANY and "None" not in found:
        found += " | None"
    return parameter.replace(annotation=found)


def _of_source(function: Callable, keys: list[str], otherwise: str) -> Signature:
    """Return the function's own signature, completed by the tables."""
    source = inspect.signature(function)
    returns = annotations.result(keys, annotation(source.return_annotation), otherwise)
    parameters = [_typed(p, keys) for p in source.parameters.values()]
    if returns.startswith(("return_types.", "tuple[")):
        several = "Sequence[Tensor] | None"
        parameters = [p.replace(annotation=several) if p.name == "out" else p for p in parameters]
    return Signature(parameters, return_annotation=returns)


def of_function(function: Callable, *keys: str, otherwise: str = "Tensor") -> list[Signature]:
    """Return the ways to call a function whose qualified names, best first, are `keys`.

    A result that nothing tells of is `otherwise`.
    """
    for key in keys:
        if key in OVERLOADS:
            return [declared(line) for line in OVERLOADS[key]]
    return [_of_source(function, list(keys), otherwise)]


def as_method(signature: Signature, in_place: bool = False) -> Signature:
    """Return a function's signature as the method's: `self` comes first, and `out` is gone."""
    first, *rest = signature.parameters.values()
    kind = Parameter.POSITIONAL_ONLY
    this = Parameter("self", kind if first.kind is kind else Parameter.POSITIONAL_OR_KEYWORD)
    kept = [p for p in rest if p.name != "out"]
    returns = "Self" if in_place else signature.return_annotation
    return Signature([this, *kept], return_annotation=returns)


def takes_tensor_first(signature: Signature) -> bool:
    """Whether a function's first parameter is one tensor, so that a method may stand for it."""
    first = next(iter(signature.parameters.values()), None)
    if first is None or first.kind is Parameter.VAR_POSITIONAL:
        return False
    return first.name == "self" or first.annotation in ("Tensor", annotations.OPERAND)


def names_in(signature: Signature) -> Iterator[str]:
    """Yield the identifiers that a signature's annotations begin with."""
    texts = [p.annotation for p in signature.parameters.values()]
    for text in [*texts, signature.return_annotation]:
        if isinstance(text, str) and text:
            yield from (n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name))
