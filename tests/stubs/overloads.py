"""Functions whose result, or whose operands, depend on how they are called: one line for each way.

A method takes the lines of the function of its name, unless it has lines of its own.
"""

from __future__ import annotations

_OUT = "out: Tensor | None = None"
_PAIR = "out: Sequence[Tensor] | None = None"
_MAKE = (
    "dtype: dtype | None = None, layout: layout | None = None, device: Device | None = None, "
    "requires_grad: bool = False, pin_memory: bool = False"
)
_DRAW = f"generator: Generator | None = None, {_OUT}, {_MAKE}"
_NEW = (
    "dtype: dtype | None = None, device: Device | None = None, requires_grad: bool = False, "
    "layout: layout | None = None, pin_memory: bool = False"
)
_MOVE = (
    "non_blocking: bool = False, copy: bool = False, *, memory_format: memory_format | None = None"
)
_FILL = f"{_OUT}, {_MAKE}, memory_format: memory_format | None = None"


def _extreme(name: str) -> list[str]:
    return [
        f"(input: Tensor, *, {_OUT}) -> Tensor",
        f"(input: Tensor, dim: int, keepdim: bool = False, *, {_PAIR}) -> return_types.{name}",
        f"(input: Tensor, other: Tensor, /, *, {_OUT}) -> Tensor",
    ]


def _median(name: str) -> list[str]:
    return [
        "(input: Tensor) -> Tensor",
        f"(input: Tensor, dim: int, keepdim: bool = False, *, {_PAIR}) -> return_types.{name}",
    ]


def _sized(options: str) -> list[str]:
    return [f"(*size: int, {options}) -> Tensor", f"(size: Sequence[int], *, {options}) -> Tensor"]


def _new(options: str) -> list[str]:
    return [
        f"(self, *size: int, {options}) -> Tensor",
        f"(self, size: Sequence[int], *, {options}) -> Tensor",
    ]


def _sizes(name: str) -> list[str]:
    return [
        f"(input: Tensor, *{name}: int) -> Tensor",
        f"(input: Tensor, {name}: Sequence[int]) -> Tensor",
    ]


_POOL = "stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = False"
_MAX_POOL = [
    f"(input: Tensor, kernel_size: Ints, {_POOL}, return_indices: Literal[False] = False) -> Tensor",
    f"(input: Tensor, kernel_size: Ints, {_POOL}, *, return_indices: Literal[True])"
    " -> tuple[Tensor, Tensor]",
    f"(input: Tensor, kernel_size: Ints, {_POOL}, return_indices: bool = False) -> Any",
]
_ADAPTIVE = "input: Tensor, output_size: int | Sequence[int | None]"
_ADAPTIVE_POOL = [
    f"({_ADAPTIVE}, return_indices: Literal[False] = False) -> Tensor",
    f"({_ADAPTIVE}, return_indices: Literal[True]) -> tuple[Tensor, Tensor]",
    f"({_ADAPTIVE}, return_indices: bool = False) -> Any",
]
_FRACTION = (
    "input: Tensor, kernel_size: Ints, output_size: Ints | None = None, "
    "output_ratio: float | Sequence[float] | None = None"
)
_SAMPLES = "_random_samples: Tensor | None = None"
_FRACTIONAL_POOL = [
    f"({_FRACTION}, return_indices: Literal[False] = False, {_SAMPLES}) -> Tensor",
    f"({_FRACTION}, *, return_indices: Literal[True], {_SAMPLES}) -> tuple[Tensor, Tensor]",
    f"({_FRACTION}, return_indices: bool = False, {_SAMPLES}) -> Any",
]
_SCATTER = [
    f"(input: Tensor, dim: int, index: Tensor, src: Tensor, *, reduce: str | None = None, {_OUT})"
    " -> Tensor",
    f"(input: Tensor, dim: int, index: Tensor, value: Number, /, *, reduce: str | None = None,"
    f" {_OUT}) -> Tensor",
    f"(input: Tensor, dim: int, index: Tensor, *, value: Number, reduce: str | None = None, {_OUT})"
    " -> Tensor",
]
_LAYERS = (
    "params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float, train: bool, "
    "bidirectional: bool"
)


def _unique(first: str) -> list[str]:
    """Return the lines of `unique`: each flag adds a tensor to the result."""
    no, yes, dim = "Literal[False] = False", "Literal[True]", "dim: int | None = None"
    three = "tuple[Tensor, Tensor, Tensor]"
    return [
        f"({first}, return_inverse: {no}, return_counts: {no}, {dim}) -> Tensor",
        f"({first}, *, return_inverse: {yes}, return_counts: {no}, {dim}) -> tuple[Tensor, Tensor]",
        f"({first}, *, return_inverse: {no}, return_counts: {yes}, {dim}) -> tuple[Tensor, Tensor]",
        f"({first}, *, return_inverse: {yes}, return_counts: {yes}, {dim}) -> {three}",
        f"({first}, return_inverse: bool = False, return_counts: bool = False, {dim}) -> Any",
    ]


def _spread(result: str, out: str = "") -> list[str]:
    """Return the lines of `std` and its kin."""
    dim, keepdim, also = "dim: Ints | None", "keepdim: bool = False", f", *, {out}" if out else ""
    return [
        f"(input: Tensor, {dim} = None, *, correction: float | None = None, {keepdim}"
        f"{also.replace('*, ', '')}) -> {result}",
        f"(input: Tensor, {dim}, unbiased: bool | None = None, {keepdim}{also}) -> {result}",
        f"(input: Tensor, unbiased: bool{also}) -> {result}",
    ]


OVERLOADS: dict[str, list[str]] = {
    "max": _extreme("max"),
    "min": _extreme("min"),
    "median": _median("median"),
    "nanmedian": _median("nanmedian"),
    "std": _spread("Tensor", _OUT),
    "var": _spread("Tensor", _OUT),
    "std_mean": _spread("tuple[Tensor, Tensor]"),
    "var_mean": _spread("tuple[Tensor, Tensor]"),
    "sum": [
        "(input: Tensor, dim: Ints | None = None, keepdim: bool = False, *, "
        f"dtype: dtype | None = None, {_OUT}) -> Tensor",
    ],
    "mean": [
        "(input: Tensor, dim: Ints | None = None, keepdim: bool = False, *, "
        f"dtype: dtype | None = None, {_OUT}) -> Tensor",
    ],
    "unique": _unique("input: Tensor, sorted: bool = True"),
    "unique_consecutive": _unique("input: Tensor"),
    "nonzero": [
        f"(input: Tensor, *, {_OUT}, as_tuple: Literal[False] = False) -> Tensor",
        "(input: Tensor, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]",
    ],
    "where": [
        "(condition: Tensor) -> tuple[Tensor, ...]",
        f"(condition: Tensor, input: Tensor | Number, other: Tensor | Number, *, {_OUT}) -> Tensor",
    ],
    "scatter": _SCATTER,
    "arange": [
        f"(end: Number, *, {_OUT}, {_MAKE}) -> Tensor",
        f"(start: Number, end: Number, step: Number = 1, *, {_OUT}, {_MAKE}) -> Tensor",
    ],
    "empty": _sized(_FILL),
    "ones": _sized(_FILL),
    "zeros": _sized(_FILL),
    "rand": _sized(_DRAW),
    "randn": _sized(_DRAW),
    "randint": [
        f"(high: int, size: Sequence[int], *, {_DRAW}) -> Tensor",
        f"(low: int, high: int, size: Sequence[int], *, {_DRAW}) -> Tensor",
    ],
    "randint_like": [
        f"(input: Tensor, high: int, *, generator: Generator | None = None, {_MAKE}, "
        "memory_format: memory_format | None = None) -> Tensor",
        f"(input: Tensor, low: int, high: int, *, generator: Generator | None = None, {_MAKE}, "
        "memory_format: memory_format | None = None) -> Tensor",
    ],
    "normal": [
        "(mean: Tensor, std: Tensor | float = 1.0, *, generator: Generator | None = None, "
        f"{_OUT}) -> Tensor",
        f"(mean: float, std: Tensor, *, generator: Generator | None = None, {_OUT}) -> Tensor",
        f"(mean: float, std: float, size: Sequence[int], *, {_DRAW}) -> Tensor",
    ],
    "permute": _sizes("dims"),
    "reshape": _sizes("shape"),
    "flip": _sizes("dims"),
    "tile": _sizes("dims"),
    "permute_copy": _sizes("dims"),
    "expand_copy": _sizes("size"),
    "view_copy": [*_sizes("size"), "(input: Tensor, dtype: dtype) -> Tensor"],
    "squeeze": ["(input: Tensor, dim: Ints | None = None) -> Tensor"],
    "atleast_1d": [
        "(tensor: Tensor, /) -> Tensor",
        "(*tensors: Tensor) -> tuple[Tensor, ...]",
        "(tensors: Sequence[Tensor], /) -> tuple[Tensor, ...]",
    ],
    "block_diag": ["(*tensors: Tensor) -> Tensor"],
    "broadcast_tensors": [
        "(*tensors: Tensor) -> tuple[Tensor, ...]",
        "(tensors: Sequence[Tensor], /) -> tuple[Tensor, ...]",
    ],
    "cartesian_prod": ["(*tensors: Tensor) -> Tensor"],
    "meshgrid": [
        "(*tensors: Tensor, indexing: str | None = None) -> tuple[Tensor, ...]",
        "(tensors: Sequence[Tensor], /, *, indexing: str | None = None) -> tuple[Tensor, ...]",
    ],
    "einsum": [
        "(equation: str, /, *operands: Tensor) -> Tensor",
        "(equation: str, operands: Sequence[Tensor], /) -> Tensor",
        "(*args: Any) -> Tensor",
    ],
    "repeat_interleave": [
        "(repeats: Tensor, /, *, output_size: int | None = None) -> Tensor",
        "(input: Tensor, repeats: Tensor | int, dim: int | None = None, *, "
        "output_size: int | None = None) -> Tensor",
    ],
    **{
        f"{side}split": [
            "(input: Tensor, sections: int, /) -> tuple[Tensor, ...]",
            "(input: Tensor, indices: Sequence[int], /) -> tuple[Tensor, ...]",
        ]
        for side in "dhv"
    },
    **{f"max_pool{n}d": _MAX_POOL for n in (1, 2, 3)},
    **{f"nn.functional.adaptive_max_pool{n}d": _ADAPTIVE_POOL for n in (1, 2, 3)},
    "adaptive_max_pool1d": _ADAPTIVE_POOL,
    **{
        f"nn.functional.max_pool{n}d_with_indices": [
            f"(input: Tensor, kernel_size: Ints, {_POOL}) -> tuple[Tensor, Tensor]"
        ]
        for n in (1, 2, 3)
    },
    **{
        f"nn.functional.adaptive_max_pool{n}d_with_indices": [
            f"({_ADAPTIVE}) -> tuple[Tensor, Tensor]"
        ]
        for n in (1, 2, 3)
    },
    **{f"nn.functional.fractional_max_pool{n}d": _FRACTIONAL_POOL for n in (2, 3)},
    "lu": [
        "(input: Tensor, pivot: bool = True, get_infos: Literal[False] = False, *, "
        f"{_PAIR}) -> tuple[Tensor, Tensor]",
        f"(input: Tensor, pivot: bool = True, *, get_infos: Literal[True], {_PAIR})"
        " -> tuple[Tensor, Tensor, Tensor]",
        f"(input: Tensor, pivot: bool = True, get_infos: bool = False, *, {_PAIR})"
        " -> tuple[Tensor, ...]",
    ],
    "Tensor.view": [*_sizes("size"), "(input: Tensor, dtype: dtype) -> Tensor"],
    "Tensor.expand": [
        "(input: Tensor, *size: int, implicit: bool = False) -> Tensor",
        "(input: Tensor, size: Sequence[int], *, implicit: bool = False) -> Tensor",
    ],
    "Tensor.repeat": _sizes("repeats"),
    "Tensor.sum_to_size": [
        "(input: Tensor, *size: int) -> Tensor",
        "(input: Tensor, size: Sequence[int], /) -> Tensor",
    ],
    "Tensor.resize_": [
        "(self, *sizes: int, memory_format: memory_format | None = None) -> Self",
        "(self, sizes: Sequence[int], /, *, memory_format: memory_format | None = None) -> Self",
    ],
    "Tensor.size": ["(self, dim: None = None) -> Size", "(self, dim: int) -> int"],
    "Tensor.stride": ["(self, dim: None = None) -> tuple[int, ...]", "(self, dim: int) -> int"],
    "Tensor.to": [
        f"(self, dtype: dtype, {_MOVE}) -> Tensor",
        f"(self, device: Device | None = None, dtype: dtype | None = None, {_MOVE}) -> Tensor",
        f"(self, other: Tensor, {_MOVE}) -> Tensor",
    ],
    "Tensor.type": [
        "(self, dtype: None = None, non_blocking: bool = False) -> str",
        "(self, dtype: dtype | str, non_blocking: bool = False) -> Tensor",
    ],
    "Tensor.polygamma": ["(self, n: int) -> Tensor"],
    "Tensor.polygamma_": ["(self, n: int) -> Self"],
    "Tensor.where": ["(self, condition: Tensor, other: Tensor | Number) -> Tensor"],
    "Tensor.new_empty": _new(_NEW),
    "Tensor.new_ones": _new(_NEW),
    "Tensor.new_zeros": _new(_NEW),
    "Tensor.random_": [
        "(self, *, generator: Generator | None = None) -> Self",
        "(self, to: int, *, generator: Generator | None = None) -> Self",
        "(self, start: int, to: int | None, /, *, generator: Generator | None = None) -> Self",
    ],
    "Tensor.uniform_": [
        "(self, start: float = 0, to: float = 1, /, *, generator: Generator | None = None) -> Self"
    ],
}
OVERLOADS["atleast_2d"] = OVERLOADS["atleast_3d"] = OVERLOADS["atleast_1d"]
for _name, _states, _outs in (
    ("lstm", "Sequence[Tensor]", 3), ("gru", "Tensor", 2), ("rnn_tanh", "Tensor", 2),
    ("rnn_relu", "Tensor", 2),
):  # fmt: skip
    _result = f"tuple[{', '.join(['Tensor'] * _outs)}]"
    OVERLOADS[_name] = [
        f"(input: Tensor, hx: {_states}, {_LAYERS}, batch_first: bool, /) -> {_result}",
        f"(data: Tensor, batch_sizes: Tensor, hx: {_states}, {_LAYERS}, /) -> {_result}",
    ]
