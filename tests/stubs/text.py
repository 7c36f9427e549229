"""Stubs as text, laid out as ruff would lay it out."""

from __future__ import annotations

import ast
from inspect import Parameter, Signature
from typing import Any

WIDTH = 100
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class _Rename(ast.NodeTransformer):
    def __init__(self, hidden: set[str]) -> None:
        self.hidden = hidden

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(f"{node.id}_t") if node.id in self.hidden else node


def annotation(text: str, hidden: set[str]) -> str:
    """Return a type, where a name that the scope hides ends in `_t`."""
    tree = _Rename(hidden).visit(ast.parse(text, mode="eval"))
    return ast.unparse(tree).replace("'", '"')


def _default(value: Any) -> str:
    plain = value is None or isinstance(value, (bool, int, str)) or value == ()
    if isinstance(value, tuple):
        plain = all(isinstance(v, (int, str)) for v in value)
    if isinstance(value, float):
        plain = abs(value) < 1e300
    return repr(value).replace("'", '"') if plain else "..."


def _parameter(p: Parameter, hidden: set[str]) -> str:
    star = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}.get(p.kind, "")
    text = star + p.name
    if p.annotation is not Parameter.empty and p.annotation:
        text += f": {annotation(p.annotation, hidden)}"
        if p.default is not Parameter.empty:
            text += f" = {_default(p.default)}"
    elif p.default is not Parameter.empty:
        text += f"={_default(p.default)}"
    return text


def parameters(signature: Signature, hidden: set[str]) -> list[str]:
    """Return the parameters of a signature as they are written, with `/` and `*`."""
    parts: list[str] = []
    previous: Any = None
    for p in signature.parameters.values():
        if previous is Parameter.POSITIONAL_ONLY and p.kind is not previous:
            parts.append("/")
        if p.kind is Parameter.KEYWORD_ONLY and (previous is None or previous in _POSITIONAL):
            parts.append("*")
        parts.append(_parameter(p, hidden))
        previous = p.kind
    return [*parts, "/"] if previous is Parameter.POSITIONAL_ONLY else parts


def function(
    name: str, signature: Signature, doc: str = "", *, hidden: set[str], indent: str = "",
    comment: str = "",
) -> list[str]:  # fmt: skip
    """Return the lines of a function: a body of one docstring, or of `...`."""
    parts = parameters(signature, hidden)
    returns = annotation(signature.return_annotation or "Any", hidden)
    head, tail = f"{indent}def {name}(", f") -> {returns}:"
    end = "" if doc else " ..."
    inner = indent + "    "
    if len(head + ", ".join(parts) + tail + end) <= WIDTH:
        lines = [head + ", ".join(parts) + tail + end]
    elif len(inner + ", ".join(parts)) <= WIDTH:
        lines = [head, inner + ", ".join(parts), indent + tail + end]
    else:
        lines = [head, *[f"{inner}{part}," for part in parts], indent + tail + end]
    if comment:
        lines[0] += f"  # {comment}"
    if doc:
        lines += [docstring(doc, inner), ""]
    return lines


def joined(lines: list[str]) -> str:
    """Return lines as a file: no two blank lines in a row, one line break at the end."""
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip() + "\n"


def docstring(text: str, indent: str) -> str:
    """Return one line as a docstring."""
    raw = "r" if "\\" in text else ""
    space = " " if text.endswith('"') else ""
    return f'{indent}{raw}"""{text}{space}"""'


def first_line(doc: str | None) -> str:
    """Return the first paragraph of a docstring in one line."""
    lines = []
    for line in (doc or "").strip().splitlines():
        if not line.strip():
            break
        lines.append(line.strip())
    return " ".join(lines)
