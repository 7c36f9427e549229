"""Make a batch of a list of samples."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

import multitorch
from multitorch.tensor import Tensor

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

Collate = Callable[..., Any]
FnMap = dict[Any, Collate]

_ERROR = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)
_NOT_NUMERIC = re.compile(r"[SaUO]")


def default_convert(data: Any) -> Any:
    """Turn NumPy arrays into tensors, inside of dicts and sequences too; leave the rest alone.

    >>> default_convert({"a": np.array([1, 2])})
    {'a': tensor([1, 2])}
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, np.ndarray | np.generic):
        if isinstance(data, np.ndarray) and _NOT_NUMERIC.search(data.dtype.str):
            return data
        return multitorch.as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(item) for item in data))
    if isinstance(data, tuple):
        return [default_convert(item) for item in data]
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _like_sequence(data, [default_convert(item) for item in data])
    return data


def _like_mapping(like: Any, values: dict) -> Any:
    """Return the values as a mapping of the type of `like`, or as a dict if that cannot be made."""
    try:
        if isinstance(like, MutableMapping):
            result = copy.copy(like)
            result.update(values)
            return result
        return type(like)(values)
    except TypeError:
        return values


def _like_sequence(like: Any, values: list) -> Any:
    """Return the values as a sequence of the type of `like`, or as a list if it cannot be made."""
    try:
        if isinstance(like, MutableSequence):
            result = copy.copy(like)
            for i, value in enumerate(values):
                result[i] = value
            return result
        return type(like)(values)
    except TypeError:
        return values


def collate(batch: Sequence, *, collate_fn_map: FnMap | None = None) -> Any:
    """Collate a list of samples by the function that `collate_fn_map` has for their type.

    Mappings, named tuples and sequences are collated element by element. A function of the map is
    called as `fn(batch, collate_fn_map=collate_fn_map)`.
    """
    first = batch[0]
    kind = type(first)
    function = _function_for(first, collate_fn_map or {})
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        values = {
            key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map)
            for key in first
        }
        return _like_mapping(first, values)
    if not isinstance(first, Sequence):
        raise TypeError(_ERROR.format(kind))
    if not all(len(sample) == len(first) for sample in batch) and not hasattr(first, "_fields"):
        raise RuntimeError("each element in list of batch should be of equal size")
    columns = [
        collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=False)
    ]
    if isinstance(first, tuple):
        return kind(*columns) if hasattr(first, "_fields") else columns
    return _like_sequence(first, columns)


def _function_for(first: Any, functions: FnMap) -> Collate | None:
    function = functions.get(type(first))
    if function is None:
        for kind in functions:
            if isinstance(first, kind):
                return functions[kind]
    return function


def collate_tensors(batch: Sequence, *, collate_fn_map: FnMap | None = None) -> Tensor:
    """Stack tensors of one shape along a new first dimension."""
    return multitorch.stack(batch, 0)


def _collate_arrays(batch: Sequence, *, collate_fn_map: FnMap | None = None) -> Any:
    if _NOT_NUMERIC.search(batch[0].dtype.str):
        raise TypeError(_ERROR.format(batch[0].dtype))
    tensors = [multitorch.as_tensor(array) for array in batch]
    return collate(tensors, collate_fn_map=collate_fn_map)


def _collate_numpy_numbers(batch: Sequence, *, collate_fn_map: FnMap | None = None) -> Tensor:
    return multitorch.as_tensor(np.array(batch))


def _collate_floats(batch: Sequence, *, collate_fn_map: FnMap | None = None) -> Tensor:
    return multitorch.tensor(batch, dtype=multitorch.float64)


def _collate_ints(batch: Sequence, *, collate_fn_map: FnMap | None = None) -> Tensor:
    return multitorch.tensor(batch)


def _collate_strings(batch: Sequence, *, collate_fn_map: FnMap | None = None) -> Sequence:
    return batch


default_collate_fn_map: FnMap = {
    Tensor: collate_tensors,
    np.ndarray: _collate_arrays,
    (np.bool_, np.number): _collate_numpy_numbers,
    float: _collate_floats,
    int: _collate_ints,
    str: _collate_strings,
    bytes: _collate_strings,
}


def default_collate(batch: Sequence) -> Any:
    """Make a batch of a list of samples: tensors, arrays and numbers become stacked tensors.

    Strings stay as they are. Dicts, named tuples and sequences keep their structure, with a batch
    in the place of each element.

    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
