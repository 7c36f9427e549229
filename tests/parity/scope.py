"""What of PyTorch's operator database does not exist here, and why: reason -> names."""

from __future__ import annotations

MISSING: dict[str, str] = {
    "later: sparse layouts": """
        sparse.mm-reduce sparse.sampled_addmm to_sparse
    """,
    "internal: scaled float8 products of a GPU's tensor cores, without a public function": """
        torch._scaled_mm torch._scaled_mm_v2
    """,
    "internal: kernels under scaled_dot_product_attention, which is there": """
        torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward
    """,
    "out of scope: CUDA source text compiled at run time": """
        jiterator_2inputs_2outputs jiterator_4inputs_with_extra_args jiterator_binary
        jiterator_binary_return_by_ref jiterator_unary
    """,
}
"""Ops of `op_db`. A test keeps the list exact."""

OUT_OF_SCOPE: dict[str, str] = {
    "python_ref_db": "`_refs` and `prims`: PyTorch's own decompositions, under other names",
    "ops.quantized": "quantized tensors (per-tensor and per-channel integer layouts)",
    "ops.nested": "nested tensors (a batch of unequal shapes in one tensor)",
    "sparse_*_db": "sparse and masked-sparse layouts come later",
}
"""Databases and namespaces that are not compared at all."""


def missing() -> dict[str, str]:
    """Return the reason for every op that is not there."""
    return {name: reason for reason, names in MISSING.items() for name in names.split()}
