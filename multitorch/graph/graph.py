"""The graph: what a recording leaves, and the project's one intermediate form."""

from __future__ import annotations

from typing import Any, NamedTuple


class Call(NamedTuple):
    """One kernel call: `outs = name(*ins, **params)`, values by number."""

    name: str
    ins: tuple[Any, ...]
    """Numbers of values, None, or tuples of them."""
    params: tuple[tuple[str, Any], ...]
    outs: tuple[int, ...] | int


class Graph:
    """Kernel calls in order, the inputs that they start from and the outputs that are wanted."""

    __slots__ = ("calls", "count", "input_keys", "inputs", "outputs")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.count = 0
        self.inputs: list[int] = []
        self.input_keys: list[Any] = []
        """Per input its (shape, dtype), or the type of a Python number."""
        self.outputs: list[int] = []

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
        lines = [f"graph of {len(self.calls)} calls, inputs {self.input_keys}"]
        for name, ins, params, outs in self.calls:
            given = ", ".join([*map(str, ins), *(f"{k}={v!r}" for k, v in params)])
            lines.append(f"  {outs} = {name}({given})")
        return "\n".join([*lines, f"  return {self.outputs}"])
