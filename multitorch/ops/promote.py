"""How an op treats its operands' dtypes: one `Promotion` for each family of ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from multitorch import dtypes
from multitorch.dtypes import BOOL, FLOAT, dtype
from multitorch.promotion import Operand, result_dtype

_ALL = frozenset(d for d in dtypes.ALL if d.np is not None and not d.name.startswith("float8"))
_INEXACT = frozenset(d for d in _ALL if d.inexact)
_NATIVE_FLOAT = frozenset((dtypes.float32, dtypes.float64))
_NATIVE_INEXACT = _NATIVE_FLOAT | {dtypes.complex64, dtypes.complex128}
_NATIVE_INT = frozenset((dtypes.uint8, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64))
NOTHING: frozenset[dtype] = frozenset()


class Promotion:
    """The dtype in which an op computes, given its operands.

    `fast` holds the dtypes of equal operands that a kernel can take as they are; `fast_float` and
    `fast_int` those for which a Python float or int beside them needs no conversion. `out_bool`
    says that results are bool. Everything else goes through `compute`.
    """

    __slots__ = ("_adjust", "fast", "fast_float", "fast_int", "name", "out_bool")

    def __init__(
        self,
        name: str,
        adjust: Callable[[str, dtype], dtype],
        *,
        fast: frozenset[dtype],
        fast_float: frozenset[dtype] = NOTHING,
        fast_int: frozenset[dtype] = NOTHING,
        out_bool: bool = False,
    ) -> None:
        self.name, self._adjust = name, adjust
        self.fast, self.fast_float, self.fast_int = fast, fast_float, fast_int
        self.out_bool = out_bool

    def compute(self, op: str, operands: Sequence[Operand]) -> dtype:
        """Return the dtype to which operands are cast before the kernel."""
        return self._adjust(op, result_dtype(operands))

    def of_tensors(self) -> Promotion:
        """Return the same promotion for an op whose fast path takes no Python number."""
        return Promotion(self.name, self._adjust, fast=self.fast, out_bool=self.out_bool)

    def __repr__(self) -> str:
        return f"<promotion {self.name}>"


def not_implemented(op: str, d: dtype) -> RuntimeError:
    """Return PyTorch's error for an op that lacks a dtype."""
    return NotImplementedError(f"\"{op}_cpu\" not implemented for '{d.scalar_name}'")


def _arithmetic(op: str, d: dtype) -> dtype:
    if d not in _ALL:
        raise not_implemented(op, d)
    return d


_NO_SUB = (
    "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
    "`logical_xor()` operator instead."
)
_NO_NEG = (
    "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a "
    "mask, use the `~` or `logical_not()` operator instead."
)


def _no_bool(op: str, d: dtype) -> dtype:
    if d.category == BOOL:
        raise RuntimeError(_NO_NEG if op == "neg" else _NO_SUB)
    return _arithmetic(op, d)


def _no_bool_kernel(op: str, d: dtype) -> dtype:
    if d.category == BOOL:
        raise not_implemented(op, d)
    return _arithmetic(op, d)


def _to_float(op: str, d: dtype) -> dtype:
    return _arithmetic(op, d) if d.category >= FLOAT else dtypes.get_default_dtype()


def _real_to_float(op: str, d: dtype) -> dtype:
    if d.is_complex:
        raise not_implemented(op, d)
    return _to_float(op, d)


def _real(op: str, d: dtype) -> dtype:
    if d.is_complex:
        raise not_implemented(op, d)
    return _arithmetic(op, d)


def _real_no_bool(op: str, d: dtype) -> dtype:
    return _real(op, _no_bool_kernel(op, d))


def _integral(op: str, d: dtype) -> dtype:
    if d.category >= FLOAT:
        raise not_implemented(op, d)
    return d


def _float_only(op: str, d: dtype) -> dtype:
    if d.category < FLOAT:
        raise not_implemented(op, d)
    return _arithmetic(op, d)


_reals = frozenset(d for d in _ALL if not d.is_complex)
_no_bools = frozenset(d for d in _ALL if d.category != BOOL)
_floats = frozenset(d for d in _ALL if d.is_floating_point)
_integrals = frozenset(d for d in _ALL if d.category < FLOAT)

numeric = Promotion(
    "numeric", _arithmetic, fast=_ALL, fast_float=_NATIVE_INEXACT,
    fast_int=_NATIVE_INEXACT | _NATIVE_INT,
)  # fmt: skip
no_bool = Promotion(
    "no_bool", _no_bool, fast=_no_bools, fast_float=_NATIVE_INEXACT,
    fast_int=_NATIVE_INEXACT | _NATIVE_INT,
)  # fmt: skip
to_float = Promotion(
    "to_float", _to_float, fast=_INEXACT, fast_float=_NATIVE_INEXACT, fast_int=_NATIVE_INEXACT
)
real_to_float = Promotion(
    "real_to_float", _real_to_float, fast=_floats, fast_float=_NATIVE_FLOAT, fast_int=_NATIVE_FLOAT
)
real = Promotion(
    "real", _real, fast=_reals, fast_float=_NATIVE_FLOAT, fast_int=_NATIVE_FLOAT | _NATIVE_INT
)
real_no_bool = Promotion(
    "real_no_bool", _real_no_bool, fast=_reals & _no_bools, fast_float=_NATIVE_FLOAT,
    fast_int=_NATIVE_FLOAT | _NATIVE_INT,
)  # fmt: skip
real_to_real = Promotion("real_to_real", _arithmetic, fast=_reals)
"""For ops whose result is real where the input is complex (abs, angle): complex is not fast."""
integral = Promotion("integral", _integral, fast=_integrals, fast_int=_NATIVE_INT)
float_only = Promotion("float_only", _float_only, fast=_INEXACT, fast_float=_NATIVE_INEXACT)
compare = Promotion(
    "compare", _arithmetic, fast=_ALL, fast_float=_NATIVE_INEXACT,
    fast_int=_NATIVE_INEXACT | _NATIVE_INT, out_bool=True,
)  # fmt: skip
order = Promotion(
    "order", _real, fast=_reals, fast_float=_NATIVE_FLOAT,
    fast_int=_NATIVE_FLOAT | _NATIVE_INT, out_bool=True,
)  # fmt: skip
