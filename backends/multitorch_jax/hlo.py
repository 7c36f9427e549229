"""Read a compiled program's text: its computations, and their instructions line by line."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from functools import cache
from typing import NamedTuple

SCOPE = "call"
"""Each call of a graph is lowered under a scope of this name and its number."""
_CALL = re.compile(rf"/{SCOPE}(\d+)[/\"]")
_TYPE = re.compile(r"\b(pred|bf16|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\]")
_CALLEES = re.compile(
    r"(?:calls|body|condition|to_apply|select|scatter|branch_computations)="
    r"\{?(%[^,}\s]+(?:, *%[^,}\s]+)*)"
)
_NAME = re.compile(r"%[\w.-]+")
_BITS = re.compile(r"\d+")
_SIZES = {"pred": 1.0, "c64": 8.0, "c128": 16.0}


class Line(NamedTuple):
    """One instruction."""

    name: str
    type: str
    opcode: str
    rest: str
    root: bool = False

    @property
    def operands(self) -> list[str]:
        """The names of what it computes from."""
        return _NAME.findall(self.rest.split("), ", 1)[0])

    @property
    def callees(self) -> list[str]:
        """The names of the computations that it runs."""
        return [n for group in _CALLEES.findall(self.rest) for n in re.split(r", *", group)]

    @property
    def calls(self) -> list[int]:
        """The calls of the graph that the compiler says it comes from."""
        return [int(n) for n in _CALL.findall(self.rest)]


class Text:
    """A program's computations by name, and the name of the one that it starts with."""

    def __init__(self, text: str) -> None:
        self.parts: dict[str, list[Line]] = defaultdict(list)
        self.entry = name = ""
        for line in text.splitlines():
            if line.endswith("{") and " -> " in line and not line.startswith(" "):
                name = line.removeprefix("ENTRY ").split(" ", 1)[0]
                self.entry = name if line.startswith("ENTRY ") else self.entry
            elif line.startswith("  ") and " = " in line:
                self.parts[name].append(_line(line.strip()))
        self._types: dict[str, dict[str, str]] = {}

    def types(self, name: str) -> dict[str, str]:
        """Return the types of a computation's values by name."""
        if name not in self._types:
            self._types[name] = {line.name: line.type for line in self.parts[name]}
        return self._types[name]


def _line(text: str) -> Line:
    plain = text.removeprefix("ROOT ")
    name, _, rest = plain.partition(" = ")
    depth = end = 0
    while rest[end] != " " or depth:  # a tuple's type has spaces in its parentheses
        depth += (rest[end] == "(") - (rest[end] == ")")
        end += 1
    opcode, _, after = rest[end + 1 :].partition("(")
    return Line(name, rest[:end], opcode, after, plain is not text)


@cache
def shapes(type: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return the dtypes and shapes of a type, tuples included.

    >>> shapes("(f32[2,3]{1,0}, pred[])")
    [('f32', (2, 3)), ('pred', ())]
    """
    return [
        (dtype, tuple(int(n) for n in dims.split(",") if n)) for dtype, dims in _TYPE.findall(type)
    ]


def shape(type: str) -> tuple[int, ...]:
    """Return the shape of a type; of a tuple's, that of its first part."""
    found = shapes(type)
    return found[0][1] if found else ()


def elements(type: str) -> int:
    """Return how many elements a type has; a tuple's first part counts."""
    return math.prod(shape(type))


@cache
def size_of(type: str) -> int:
    """Return the bytes of a type, tuples included.

    >>> size_of("(f32[2,3]{1,0}, s8[4])")
    28
    """
    total = 0.0
    for dtype, dims in shapes(type):
        bits = _BITS.search(dtype)
        each = _SIZES.get(dtype) or (int(bits.group()) / 8 if bits else 4)
        total += each * math.prod(dims)
    return math.ceil(total)
