"""The samples of PyTorch's operator database fit the stubs: their arguments, and what comes back."""

from __future__ import annotations

import builtins
import collections.abc
import functools
import importlib
import itertools
import types
import typing
from inspect import Signature
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import multitorch  # noqa: E402
from multitorch.ops import return_types  # noqa: E402
from tests.parity.adapter import name_of, op_db, to_multitorch  # noqa: E402
from tests.stubs import modules  # noqa: E402

TABLES = {
    n: f for m in modules.families.modules() for n, f in modules.table(m, "FUNCTIONS").items()
}
SCOPE = {
    **vars(builtins), **vars(collections.abc), **vars(typing), **vars(multitorch.types),
    "Tensor": multitorch.Tensor, "dtype": multitorch.dtype, "layout": multitorch.layout,
    "memory_format": multitorch.memory_format, "Generator": multitorch.Generator,
    "Size": multitorch.Size, "np": np, "return_types": return_types,
}  # fmt: skip
# The database wraps these in functions of its own, with arguments in another order.
WRAPPED = {
    "_upsample_bilinear2d_aa", "einsum", "imag", "istft", "linalg.pinv", "nn.functional.embedding",
    "normal", "pca_lowrank", "polygamma", "special.polygamma", "svd_lowrank", "view_as_real",
    "where",
}  # fmt: skip


def ways_of(name: str) -> tuple[Any, list[Signature]] | None:
    """Return the function that the stubs describe under a name of the database, and how."""
    where, _, last = name.rpartition(".")
    if where in modules.NAMESPACES:
        module = importlib.import_module(f"multitorch.{where}")
        if last in module.__all__:
            function = getattr(module, last)
            return function, modules.ways_of_function(last, function, where)
    if name in TABLES:
        return TABLES[name], modules.ways_of_function(name, TABLES[name])
    if callable(modules.METHODS.get(name)):
        return getattr(multitorch.Tensor, name), modules.ways_of_method(name)
    return None


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, as a type checker sees it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is typing.Self:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, k) for k in inner)
    if origin is typing.Literal:
        return any(value is k for k in inner)
    if origin is tuple and inner[-1] is not ...:
        pairs = zip(value, inner, strict=True) if isinstance(value, tuple) else [(None, int)]
        return all(fits(v, k) for v, k in pairs)
    if origin in (tuple, collections.abc.Sequence):
        whole = tuple if origin is tuple else (list, tuple)
        return isinstance(value, whole) and all(fits(v, inner[0]) for v in value)
    if kind in (float, complex):
        return isinstance(value, (int, float, kind))
    return value is None if kind in (None, type(None)) else isinstance(value, origin or kind)


@functools.cache
def type_of(annotation: str) -> Any:
    return eval(annotation, SCOPE)


def misfit(way: Signature, args: list[Any], kwargs: dict[str, Any]) -> str:
    """Return what keeps arguments from fitting one way to call a function, "" if nothing does."""
    try:
        bound = way.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    for name, value in bound.arguments.items():
        p = way.parameters[name]
        values = {p.VAR_POSITIONAL: lambda v: v, p.VAR_KEYWORD: dict.values}.get(p.kind)
        for v in values(value) if values else [value]:
            if p.annotation is not p.empty and not fits(v, type_of(p.annotation)):
                return f"{name}: {type(v).__name__} is no {p.annotation}"
    return ""


def samples_of(op: Any) -> list[Any]:
    dtype = torch.float32 if torch.float32 in op.dtypes else torch.int64
    if dtype not in op.dtypes:
        return []
    return list(itertools.islice(op.sample_inputs_func(op, "cpu", dtype, False), 2))


def failures(op: Any, function: Any, ways: list[Signature]) -> list[str]:
    found = []
    for sample in samples_of(op):
        args = [to_multitorch(v, "cpu") for v in (sample.input, *sample.args)]
        kwargs = to_multitorch(sample.kwargs, "cpu")
        misfits = [misfit(way, args, kwargs) for way in ways]
        if "" not in misfits:
            found.append(" / ".join(misfits))
            continue
        way = ways[misfits.index("")]
        result = function(*args, **kwargs)
        if not fits(result, type_of(way.return_annotation)):
            found.append(f"returns {type(result).__name__}, not {way.return_annotation}")
    return found


@pytest.mark.filterwarnings("ignore")
def test_samples_fit_the_stubs():
    found = {}
    for op in op_db:
        described = ways_of(op.name)
        if described and op.name not in WRAPPED:
            found[name_of(op)] = failures(op, *described)
    assert len(found) > 500
    assert {name: misfits for name, misfits in found.items() if misfits} == {}
