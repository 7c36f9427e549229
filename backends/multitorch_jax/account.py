"""What XLA tells of a finished program: its memory, its flops and bytes, its operations."""

from __future__ import annotations

from typing import Any

import jax

from multitorch.backend.ahead import Account
from multitorch_jax.hlo import SCOPE
from multitorch_jax.work import Program


def fill(account: Account, compiled: Any, clock: float = 0.0, bandwidth: float = 0.0) -> None:
    """Fill in an account of a compiled program, on a chip of known speed or elsewhere."""
    memory = compiled.memory_analysis()
    account.argument_bytes = memory.argument_size_in_bytes
    account.output_bytes = memory.output_size_in_bytes
    account.alias_bytes = memory.alias_size_in_bytes
    account.temporary_bytes = memory.temp_size_in_bytes
    account.code_bytes = memory.generated_code_size_in_bytes
    # what XLA itself calls the peak leaves out temporaries on a CPU
    account.peak_bytes = (
        account.argument_bytes + account.output_bytes
        - account.alias_bytes + account.temporary_bytes
    )  # fmt: skip
    totals = analysis(compiled)
    account.flops = max(totals.get("flops", 0.0), 0.0)
    account.accessed_bytes = max(totals.get("bytes accessed", 0.0), 0.0)
    account.operations = Program(compiled.as_text(), clock, bandwidth).operations()


def analysis(compiled: Any) -> dict[str, float]:
    """Return XLA's cost analysis of a compiled program."""
    found = compiled.cost_analysis() or {}
    return found[0] if isinstance(found, list) else found


def scope(call: int) -> Any:
    """Return the block in which a call of a graph is traced, so that its work can be told."""
    return jax.named_scope(f"{SCOPE}{call}")
