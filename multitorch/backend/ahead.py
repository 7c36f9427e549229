"""What compiling a graph ahead of time, for hardware that is not there, tells about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Operation(NamedTuple):
    """One operation of the compiled program: most are several kernel calls fused."""

    name: str
    kind: str
    """The compiler's word for it: fusion, convolution, sort, while …"""
    seconds: float
    bytes: int
    """What it reads and writes."""
    calls: tuple[int, ...]
    """Which calls of the graph went into it."""


@dataclass
class Ahead:
    """The compiler's account of one program on one chip of a topology."""

    chip: str
    chips: int
    """How many chips the topology has; the program runs on one."""
    capacity: int
    """Bytes of the chip's memory that a program can have."""
    argument_bytes: int = 0
    output_bytes: int = 0
    alias_bytes: int = 0
    """Outputs that take the memory of donated arguments."""
    temporary_bytes: int = 0
    code_bytes: int = 0
    peak_bytes: int = 0
    flops: float = 0.0
    accessed_bytes: float = 0.0
    seconds: float = 0.0
    """How long the compiler thinks that the program takes at best."""
    compile_seconds: float = 0.0
    operations: list[Operation] = field(default_factory=list)
    """The longest first."""
    host: dict[int, str] = field(default_factory=dict)
    """Calls that the hardware cannot do -> why; the program stops for them and goes on after."""
    out_of_memory: str = ""
    """The compiler's words if the program does not fit; the bytes are then estimates of its own."""
