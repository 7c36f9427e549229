"""The graph: what a recording leaves, and the project's one intermediate form."""

from __future__ import annotations

from typing import Any, NamedTuple

from multitorch.autograd.tape import line_of


class Call(NamedTuple):
    """One kernel call: `outs = name(*ins, **params)`, values by number."""

    name: str
    ins: tuple[Any, ...]
    """Numbers of values, None, or tuples of them."""
    params: tuple[tuple[str, Any], ...]
    outs: tuple[int, ...] | int


class Graph:
    """Kernel calls in order, the inputs that they start from and the outputs that are wanted."""

    __slots__ = ("calls", "count", "input_keys", "inputs", "labels", "outputs", "segment", "where")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.count = 0
        self.inputs: list[int] = []
        self.input_keys: list[Any] = []
        """Per input its (shape, dtype), or the type of a Python number."""
        self.outputs: list[int] = []
        self.where: list[Any] = []
        """Per call the code that made it and its last instruction; None if that is not known."""
        self.segment = 0
        """How many graph breaks came before it, in the same call."""
        self.labels: dict[int, str] = {}
        """Names of inputs, as far as they have one: "argument x"."""

    @property
    def places(self) -> list[tuple[str, int] | None]:
        """Per call the file and line that made it."""
        return [None if where is None else _line(*where) for where in self.where]

    def place(self, call: int) -> str:
        """Return 'file.py:12' for a call."""
        where = self.where[call] if call < len(self.where) else None
        return "an unknown line" if where is None else "{}:{}".format(*_line(*where))

    def new_value(self) -> int:
        """Return the number of a fresh value."""
        self.count += 1
        return self.count - 1

    def add_input(self, key: Any) -> int:
        """Add an input; return its number."""
        number = self.new_value()
        self.inputs.append(number)
        self.input_keys.append(key)
        return number

    def signature(self) -> tuple:
        """Return what decides whether two recordings are one program."""
        return tuple(self.calls), tuple(self.input_keys), tuple(self.inputs), tuple(self.outputs)

    def replay(self, F: Any, values: list[Any]) -> list[Any]:
        """Run the calls with the kernels of the world `F`."""
        env: dict[int, Any] = dict(zip(self.inputs, values, strict=True))

        def look_up(x: Any) -> Any:
            return tuple(look_up(e) for e in x) if x.__class__ is tuple else env.get(x)

        for name, ins, params, outs in self.calls:
            result = getattr(F, name)(*[look_up(i) for i in ins], **dict(params))
            if isinstance(outs, int):
                env[outs] = result
            else:
                env.update(zip(outs, result, strict=True))
        return [env[o] for o in self.outputs]

    def __repr__(self) -> str:
        lines = [f"graph of {len(self.calls)} calls"]
        for number, key in zip(self.inputs, self.input_keys, strict=True):
            kind = key.__name__ if isinstance(key, type) else f"{key[1]}{list(key[0])}"
            label = self.labels.get(number)
            lines.append(f"  %{number}: {kind}" + (f"  # {label}" if label else ""))
        before = None
        for i, (name, ins, params, outs) in enumerate(self.calls):
            place = self.place(i)
            if place != before:
                lines.append(f"  # {place}")
                before = place
            given = ", ".join([*map(_name, ins), *(f"{k}={v!r}" for k, v in params)])
            lines.append(f"  {_name(outs)} = {name}({given})")
        return "\n".join([*lines, f"  return {', '.join(map(_name, self.outputs))}"])


def _name(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_name, value))})"
    return "None" if value is None else f"%{value}"


def _line(code: Any, last: int) -> tuple[str, int]:
    return code.co_filename, line_of(code, last)
