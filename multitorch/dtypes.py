"""Data types: the interned ``dtype`` objects, the default dtype, ``finfo`` and ``iinfo``.

A dtype is compared by identity. ``d.np`` is the NumPy type that arrays of that dtype have; it is
``None`` for complex32, which NumPy lacks, and ``d.numpy()`` then says so.
"""

from __future__ import annotations

from typing import Any, Self

import ml_dtypes
import numpy as np

BOOL, INTEGER, FLOAT, COMPLEX = range(4)
_CATEGORY = {"b": BOOL, "u": INTEGER, "i": INTEGER, "f": FLOAT, "c": COMPLEX}


class dtype:
    """The type of a tensor's elements, one object for each type.

    >>> float32.itemsize, float32.is_floating_point, float32.np
    (4, True, dtype('float32'))
    """

    __slots__ = (
        "abbr",
        "category",
        "inexact",
        "is_complex",
        "is_floating_point",
        "is_signed",
        "itemsize",
        "name",
        "np",
        "scalar_name",
    )

    name: str  # "float32"
    scalar_name: str  # "Float", as messages of PyTorch name it
    abbr: str  # "f32"
    np: np.dtype | None
    itemsize: int
    category: int  # BOOL, INTEGER, FLOAT or COMPLEX
    is_floating_point: bool
    is_complex: bool
    is_signed: bool
    inexact: bool  # floating point or complex

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        raise TypeError("cannot create 'torch.dtype' instances")

    def __repr__(self) -> str:
        return "torch." + self.name

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _by_name, (self.name,)

    def numpy(self) -> np.dtype:
        """Return the NumPy dtype, or raise TypeError where there is none."""
        if self.np is not None:
            return self.np
        raise TypeError(f"{self!r} has no NumPy type: use torch.complex64")

    def to_real(self) -> dtype:
        """Return the dtype of the real part: float32 for complex64, a real dtype itself."""
        return _REAL.get(self, self)

    def to_complex(self) -> dtype:
        """Return the complex dtype with parts of this one: complex64 for float32."""
        found = self if self.is_complex else _COMPLEX.get(self)
        if found is None:
            raise RuntimeError(f"Unknown Complex ScalarType for {self.scalar_name}")
        return found


_NAMED: dict[str, dtype] = {}


def _by_name(name: str) -> dtype:
    return _NAMED[name]


def _make(name: str, scalar_name: str, abbr: str, bits: int) -> dtype:
    d = object.__new__(dtype)
    d.name, d.scalar_name, d.abbr, d.itemsize = name, scalar_name, abbr, bits // 8
    d.category = _CATEGORY["f" if name.startswith("bf") else name[0]]
    d.is_floating_point, d.is_complex = d.category == FLOAT, d.category == COMPLEX
    d.inexact = d.category >= FLOAT
    d.is_signed = name[0] != "u" and name not in ("bool", "float8_e8m0fnu")
    if name == "complex32":
        d.np = None
    elif name.startswith(("bfloat", "float8")):
        d.np = np.dtype(getattr(ml_dtypes, name))
    else:
        d.np = np.dtype(name)
    _NAMED[name] = d
    return d


bool_ = _make("bool", "Bool", "b8", 8)
uint8 = _make("uint8", "Byte", "u8", 8)
int8 = _make("int8", "Char", "i8", 8)
int16 = short = _make("int16", "Short", "i16", 16)
int32 = int_ = _make("int32", "Int", "i32", 32)
int64 = long = _make("int64", "Long", "i64", 64)
uint16 = _make("uint16", "UInt16", "u16", 16)
uint32 = _make("uint32", "UInt32", "u32", 32)
uint64 = _make("uint64", "UInt64", "u64", 64)
float16 = half = _make("float16", "Half", "f16", 16)
bfloat16 = _make("bfloat16", "BFloat16", "bf16", 16)
float32 = float_ = _make("float32", "Float", "f32", 32)
float64 = double = _make("float64", "Double", "f64", 64)
complex32 = chalf = _make("complex32", "ComplexHalf", "c32", 32)
complex64 = cfloat = _make("complex64", "ComplexFloat", "c64", 64)
complex128 = cdouble = _make("complex128", "ComplexDouble", "c128", 128)
float8_e4m3fn = _make("float8_e4m3fn", "Float8_e4m3fn", "f8e4m3fn", 8)
float8_e5m2 = _make("float8_e5m2", "Float8_e5m2", "f8e5m2", 8)
float8_e4m3fnuz = _make("float8_e4m3fnuz", "Float8_e4m3fnuz", "f8e4m3fnuz", 8)
float8_e5m2fnuz = _make("float8_e5m2fnuz", "Float8_e5m2fnuz", "f8e5m2fnuz", 8)
float8_e8m0fnu = _make("float8_e8m0fnu", "Float8_e8m0fnu", "f8e8m0fnu", 8)

ALL: tuple[dtype, ...] = tuple(_NAMED.values())

#: Every public name, aliases included, with PyTorch's spelling (some shadow Python's builtins).
NAMES: dict[str, dtype] = {
    **_NAMED,
    "half": half,
    "float": float_,
    "double": double,
    "short": short,
    "int": int_,
    "long": long,
    "chalf": chalf,
    "cfloat": cfloat,
    "cdouble": cdouble,
}

_REAL = {complex32: float16, complex64: float32, complex128: float64}
# bfloat16 has no complex type of its own width: the next one that holds it
_COMPLEX = {
    float16: complex32,
    bfloat16: complex64,
    float32: complex64,
    float64: complex128,
}

from_numpy_dtype: dict[np.dtype, dtype] = {d.np: d for d in ALL if d.np is not None}

_PYTHON: dict[object, dtype] = {
    bool: bool_,
    int: int64,
    float: float64,
    complex: complex128,
}


def to_dtype(x: Any) -> dtype:
    """Return the dtype that ``x`` names: a dtype, a NumPy dtype or scalar type, or a Python type.

    >>> to_dtype(np.float32), to_dtype(int)
    (torch.float32, torch.int64)
    """
    if type(x) is dtype:
        return x
    if isinstance(x, type) and x in _PYTHON:
        return _PYTHON[x]
    if isinstance(x, np.dtype) or (isinstance(x, type) and x.__module__ in ("numpy", "ml_dtypes")):
        found = from_numpy_dtype.get(np.dtype(x).newbyteorder("="))
        if found is not None:
            return found
        raise TypeError(f"no torch.dtype corresponds to the NumPy type {np.dtype(x)}")
    raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(x).__name__}")


def dtype_argument(function: str, name: str, position: int, x: Any) -> dtype:
    """Return ``x`` as a dtype, or raise TypeError naming the argument."""
    if type(x) is dtype:
        return x
    if isinstance(x, type) and x in _PYTHON:
        return _PYTHON[x]
    raise TypeError(
        f"{function}(): argument '{name}' (position {position}) must be torch.dtype, "
        f"not {type(x).__name__}"
    )


_default: dtype = float32


def get_default_dtype() -> dtype:
    """Return the dtype that Python floats become, float32 unless changed."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Make ``d``, a floating-point dtype, the one that Python floats become."""
    global _default
    if type(d) is not dtype:
        raise TypeError(
            "invalid dtype object: only floating-point types are supported as the default type"
        )
    if not d.is_floating_point or d.itemsize == 1:
        raise TypeError("only floating-point types are supported as the default type")
    _default = d


# eps, largest, smallest normal, decimal digits that survive a round trip
_FINFO: dict[dtype, tuple[float, float, float, int]] = {
    float16: (2.0**-10, 65504.0, 2.0**-14, 3),
    bfloat16: (2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 2),
    float32: (2.0**-23, (2 - 2.0**-23) * 2.0**127, 2.0**-126, 6),
    float64: (2.0**-52, (2 - 2.0**-52) * 2.0**1023, 2.0**-1022, 15),
    float8_e4m3fn: (2.0**-3, 448.0, 2.0**-6, 0),
    float8_e5m2: (2.0**-2, 57344.0, 2.0**-14, 0),
    float8_e4m3fnuz: (2.0**-3, 240.0, 2.0**-7, 0),
    # PyTorch gives eps = 2**-3 here, although the format has two bits of mantissa
    float8_e5m2fnuz: (2.0**-3, 57344.0, 2.0**-15, 0),
    float8_e8m0fnu: (1.0, 2.0**127, 2.0**-127, 0),
}


class finfo:
    """Limits of a floating-point dtype; a complex dtype answers for its parts.

    >>> finfo(float32).eps
    1.1920928955078125e-07
    """

    __slots__ = ("bits", "dtype", "eps", "max", "min", "resolution", "smallest_normal", "tiny")

    def __init__(self, type: dtype | None = None) -> None:
        d = _default if type is None else dtype_argument("finfo", "type", 1, type)
        if not d.inexact:
            raise TypeError(
                "torch.finfo() requires a floating point input type. "
                "Use torch.iinfo to handle 'torch.finfo'"
            )
        d = d.to_real()
        self.eps, self.max, self.tiny, digits = _FINFO[d]
        self.min = -self.max if d.is_signed else self.tiny
        self.smallest_normal = self.tiny
        self.resolution = float(f"1e-{digits}")
        self.bits, self.dtype = d.itemsize * 8, d.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype.

    >>> iinfo(int8).max
    127
    """

    __slots__ = ("bits", "dtype", "max", "min")

    def __init__(self, type: dtype) -> None:
        d = dtype_argument("iinfo", "type", 1, type)
        if d.inexact:
            raise TypeError(
                "torch.iinfo() requires an integer input type. "
                "Use torch.finfo to handle 'torch.iinfo'"
            )
        if d is bool_:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        self.bits, self.dtype = d.itemsize * 8, d.name
        self.min = -(2 ** (self.bits - 1)) if d.is_signed else 0
        self.max = 2 ** (self.bits - d.is_signed) - 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        low, high = float(self.min), float(self.max)
        return f"iinfo(min={low:g}, max={high:g}, dtype={self.dtype})"
