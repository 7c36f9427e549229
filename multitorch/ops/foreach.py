"""Functions over lists of tensors, `torch._foreach_*`: one call of an op per tensor.

On the cpu a loop costs nothing that a fused kernel would save; inside `compile` the loop is one
program anyway.

>>> [t.item() for t in multitorch._foreach_add([multitorch.ones(()), multitorch.zeros(())], 2)]
[3.0, 2.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from multitorch.ops import apply as dispatch

Tensors = Sequence[Any]
_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "clone", "cos", "cosh", "erf", "erfc", "exp", "expm1",
    "floor", "frac", "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round",
    "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_BINARY = (
    "add", "sub", "mul", "div", "clamp_max", "clamp_min", "maximum", "minimum", "pow", "mm",
)  # fmt: skip
_TERNARY = ("addcmul", "addcdiv")
_NOT_IN_PLACE = ("clone", "mm")
_METHODS = {"maximum": "clamp_min", "minimum": "clamp_max"}
"""Methods that take numbers as well, where those of the name do not."""


def _tensors(name: str, value: Any, *others: Any) -> list[Any]:
    """Return the list of tensors, which must be as long as the other lists."""
    if isinstance(value, dispatch.Tensor) or not hasattr(value, "__iter__"):
        raise TypeError(
            f"_foreach_{name}(): argument 'self' (position 1) must be tuple of Tensors, not "
            f"{type(value).__name__}"
        )
    tensors = list(value)
    if not tensors:
        raise RuntimeError("Tensor list must have at least one tensor.")
    for other in others:
        if len(other) != len(tensors):
            raise RuntimeError(
                "Tensor lists must have the same number of tensors, got "
                f"{len(tensors)} and {len(other)}"
            )
    return tensors


def _spread(value: Any, tensors: list[Any]) -> Sequence[Any]:
    """Return one operand per tensor: the list given, or the same number or tensor for all."""
    count = len(tensors)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        if isinstance(value[0] if value else None, dispatch.Tensor):
            _tensors("", tensors, value)
        raise RuntimeError(
            f"Tensor list must have same number of elements as scalar list, got {count} and "
            f"{len(value)}"
        )
    return value


def _form(name: str, body: Callable, doc: str, written: bool) -> Callable:
    """Return the public function of a body, with the in-place form's name and result."""

    def function(self: Any, *args: Any, **kwargs: Any) -> Any:
        results = body(self, *args, **kwargs)
        return self if written else tuple(results)

    function.__name__ = function.__qualname__ = f"_foreach_{name}{'_' * written}"
    function.__doc__ = doc
    return function


# --- one, two and three operands -----------------------------------------------------------------


def _unary(name: str, method: str) -> Callable:
    def body(self: Tensors, **kwargs: Any) -> list[Any]:
        return [getattr(x, method)(**kwargs) for x in _tensors(name, self)]

    return body


def _binary(name: str, method: str) -> Callable:
    def body(self: Any, other: Any = None, *, alpha: Any = 1, **kwargs: Any) -> list[Any]:
        if other is None:
            (other,) = kwargs.values()  # the name tells the overload: scalar, scalars, exponent …
        if isinstance(self, (int, float, complex)):  # one base, and a list of exponents
            self = [x.new_full((), self) for x in _tensors(name, other)]
        tensors = _tensors(name, self)
        extra = {} if alpha == 1 else {"alpha": alpha}
        each = zip(tensors, _spread(other, tensors), strict=True)
        return [getattr(x, method)(y, **extra) for x, y in each]

    return body


def _ternary(name: str, method: str) -> Callable:
    def body(
        self: Tensors, tensor1: Tensors, tensor2: Tensors, value: Any = 1, *, scalars: Any = None
    ) -> list[Any]:
        tensors = _tensors(name, self, tensor1, tensor2)
        value = value if scalars is None else scalars
        value = value.tolist() if isinstance(value, dispatch.Tensor) else value
        each = zip(tensors, tensor1, tensor2, _spread(value, tensors), strict=True)
        return [getattr(x, method)(y, z, value=v) for x, y, z, v in each]

    return body


def _lerp(name: str, method: str) -> Callable:
    def body(self: Tensors, tensors1: Tensors, weight: Any = None, **kwargs: Any) -> list[Any]:
        tensors = _tensors(name, self, tensors1)
        (weight,) = kwargs.values() if weight is None else (weight,)
        each = zip(tensors, tensors1, _spread(weight, tensors), strict=True)
        return [getattr(x, method)(y, w) for x, y, w in each]

    return body


# --- reductions and copies -----------------------------------------------------------------------


def _foreach_norm(self: Tensors, ord: float = 2, dtype: Any = None) -> tuple[Any, ...]:
    """Return the p-norm of every tensor."""
    return tuple([x.norm(ord, dtype=dtype) for x in _tensors("norm", self)])


def _foreach_powsum(self: Tensors, ord: float = 2, dtype: Any = None) -> tuple[Any, ...]:
    """Return the sum of |x|**ord of every tensor."""
    return tuple([x.abs().pow(ord).sum(dtype=dtype) for x in _tensors("powsum", self)])


def _foreach_max(self: Tensors) -> tuple[Any, ...]:
    """Return the largest element of every tensor."""
    return tuple([x.max() for x in _tensors("max", self)])


def _foreach_copy_(self: Tensors, src: Tensors, non_blocking: bool = False) -> Tensors:
    """Copy every tensor of `src` into its counterpart."""
    for x, y in zip(_tensors("copy_", self, src), src, strict=True):
        x.copy_(y)
    return self


def _foreach_zero_(self: Tensors) -> Tensors:
    """Set every element of every tensor to zero."""
    for x in _tensors("zero_", self):
        x.zero_()
    return self


def _both(names: Sequence[str], make: Callable) -> list[Callable]:
    """Return the function and, where there is one, the in-place function of each name."""
    found = []
    for name in names:
        method = _METHODS.get(name, name)
        doc = f"Return `{name}` of every tensor (and its other operands)."
        found.append(_form(name, make(name, method), doc, False))
        if name not in _NOT_IN_PLACE:
            doc = f"Overwrite every tensor with the result of `_foreach_{name}`."
            found.append(_form(name, make(name, f"{method}_"), doc, True))
    return found


FUNCTIONS: dict[str, Callable] = {
    f.__name__: f
    for f in (
        *_both(_UNARY, _unary), *_both(_BINARY, _binary), *_both(_TERNARY, _ternary),
        *_both(("lerp",), _lerp), _foreach_norm, _foreach_powsum, _foreach_max, _foreach_copy_,
        _foreach_zero_,
    )
}  # fmt: skip
METHODS: dict[str, Callable] = {}
