"""What a compiled program tells about itself, and what compiling it for absent hardware adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

NOWHERE = -1
"""The call of work to which the compiler gives no origin."""


class Share(NamedTuple):
    """What an operation computes and moves for one call of the graph."""

    call: int
    """The call's number, or `NOWHERE`."""
    flops: float
    bytes: int


class Operation(NamedTuple):
    """One operation of the compiled program: most are several kernel calls fused."""

    name: str
    kind: str
    """The compiler's word for it: fusion, convolution, sort, while …"""
    seconds: float
    """0 where the chip is not known."""
    bytes: int
    """What it reads and writes."""
    calls: tuple[int, ...]
    """Which calls of the graph went into it."""
    flops: float = 0.0
    shares: tuple[Share, ...] = ()
    """Its flops and bytes by call."""


@dataclass(kw_only=True)
class Account:
    """The compiler's account of one program; bytes are of one device's memory."""

    argument_bytes: int = 0
    output_bytes: int = 0
    alias_bytes: int = 0
    """Outputs that take the memory of donated arguments."""
    temporary_bytes: int = 0
    code_bytes: int = 0
    peak_bytes: int = 0
    flops: float = 0.0
    accessed_bytes: float = 0.0
    operations: list[Operation] = field(default_factory=list)
    """The longest first."""


@dataclass(kw_only=True)
class Ahead(Account):
    """The account of a program on one chip of a topology."""

    chip: str
    chips: int
    """How many chips the topology has; the program runs on one."""
    capacity: int
    """Bytes of the chip's memory that a program can have."""
    seconds: float = 0.0
    """How long the compiler thinks that the program takes at best."""
    compile_seconds: float = 0.0
    host: dict[int, str] = field(default_factory=dict)
    """Calls that the hardware cannot do -> why; the program stops for them and goes on after."""
    out_of_memory: str = ""
    """The compiler's words if the program does not fit; the bytes are then estimates of its own."""
