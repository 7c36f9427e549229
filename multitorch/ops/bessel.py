"""Bessel and Airy functions of `torch.special`. As in PyTorch, they have no derivatives."""

from __future__ import annotations

from multitorch.ops.op import op
from multitorch.ops.promote import real_to_float

airy_ai = op("airy_ai", "x", promote=real_to_float).nondiff()
bessel_j0 = op("bessel_j0", "x", promote=real_to_float).nondiff()
bessel_j1 = op("bessel_j1", "x", promote=real_to_float).nondiff()
bessel_y0 = op("bessel_y0", "x", promote=real_to_float).nondiff()
bessel_y1 = op("bessel_y1", "x", promote=real_to_float).nondiff()
modified_bessel_i0 = op("modified_bessel_i0", "x", promote=real_to_float, kernel="i0").nondiff()
modified_bessel_i1 = op("modified_bessel_i1", "x", promote=real_to_float, kernel="i1").nondiff()
modified_bessel_k0 = op("modified_bessel_k0", "x", promote=real_to_float).nondiff()
modified_bessel_k1 = op("modified_bessel_k1", "x", promote=real_to_float).nondiff()
scaled_modified_bessel_k0 = op("scaled_modified_bessel_k0", "x", promote=real_to_float).nondiff()
scaled_modified_bessel_k1 = op("scaled_modified_bessel_k1", "x", promote=real_to_float).nondiff()
spherical_bessel_j0 = op("spherical_bessel_j0", "x", promote=real_to_float).nondiff()
