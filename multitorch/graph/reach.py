"""What a function can read: walk over everything it reaches, and note how to see that it changed.

A recording may be skipped only if the Python code would do the same again. It reads its arguments,
globals, closures, and the attributes of objects that it finds there. `Reach` visits them all and
leaves a list of cheap checks; what it does not know how to check makes it give up with a reason.
"""

from __future__ import annotations

import dis
import enum
import functools
import operator
import sys
import sysconfig
import types
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from multitorch.device import device
from multitorch.dtypes import dtype
from multitorch.layout import layout, memory_format
from multitorch.ops import apply as dispatch
from multitorch.random.generator import Generator

_PACKAGE = str(Path(__file__).parent.parent)
_STDLIB = sysconfig.get_paths()["stdlib"]
_TRUSTED = (
    "multitorch",
    "multitorch_numpy",
    "multitorch_jax",
    "numpy",
    "jax",
    "ml_dtypes",
    "scipy",
)
_MISSING: Any = object()
_PLAIN = (
    type(None), bool, int, float, complex, str, bytes, type(Ellipsis), slice, range, np.dtype,
    np.generic, dtype, device, layout, memory_format, enum.Enum, types.BuiltinFunctionType,
    types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType,
    types.GetSetDescriptorType, types.MemberDescriptorType, types.ClassMethodDescriptorType,
    types.GenericAlias, types.UnionType, types.CodeType, Generator, operator.attrgetter,
    operator.itemgetter, operator.methodcaller,
)  # fmt: skip
SCALARS = (bool, int, float, complex, str)
_LIMIT = 100_000


class Unknown(Exception):
    """Raised for what cannot be watched; the text says what it is."""


def is_library_file(name: str) -> bool:
    """Whether a source file belongs to multitorch, a backend or an array library."""
    if name.startswith((_PACKAGE, "<multitorch")):
        return True
    return any(f"/{package}/" in name for package in _TRUSTED)


def is_stdlib_file(name: str) -> bool:
    """Whether a source file belongs to Python itself."""
    return name.startswith("<frozen") or (name.startswith(_STDLIB) and "site-packages" not in name)


def is_user_file(name: str) -> bool:
    """Whether a source file is a program's own (or that of a library which we do not know)."""
    return not is_library_file(name) and not is_stdlib_file(name)


def is_library_module(name: str) -> bool:
    """Whether a Python module belongs to multitorch, a backend or an array library."""
    return name.partition(".")[0] in _TRUSTED


def _is_library_class(cls: type) -> bool:
    return is_library_module(cls.__module__ or "")


@functools.cache
def _global_names(code: types.CodeType) -> frozenset[str]:
    """Return the global names that a function and those defined inside it read."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME")
    found = {i.argval for i in dis.get_instructions(code) if i.opname in loads}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _global_names(constant)
    return frozenset(found)


class Reach:
    """Walks over what functions reach; `names` are the attributes that count, None for all."""

    def __init__(self, names: frozenset[str] | None) -> None:
        self.names = names
        self.seen: dict[int, Any] = {}  # id -> object (kept alive)
        self.codes: set[types.CodeType] = set()
        self.keys: list[tuple[Any, str, Any]] = []  # a dict or mapping proxy, key, value
        self.dicts: list[tuple[dict, tuple, tuple]] = []  # with its keys and values
        self.lists: list[tuple[list, tuple]] = []
        self.sets: list[tuple[set, frozenset]] = []
        self.cells: list[tuple[types.CellType, Any]] = []
        self.modules: list[tuple[dict, tuple, tuple]] = []
        """What modules hold: a counter says when it is time to look."""
        self.hooks: list[tuple[Any, list]] = []  # a tensor with its hooks: likewise
        self._queue: list[Any] = []

    def walk(self, *roots: Any) -> None:
        """Visit everything that the roots lead to."""
        self._queue += roots
        while self._queue:
            obj = self._queue.pop()
            if isinstance(obj, _PLAIN) or id(obj) in self.seen:
                continue
            self.seen[id(obj)] = obj
            if len(self.seen) > _LIMIT:
                raise Unknown("more objects are within reach than can be watched")
            self._visit(obj)

    def _visit(self, obj: Any) -> None:
        visit = _VISITS.get(type(obj))
        if visit is not None:
            visit(self, obj)
        elif isinstance(obj, dispatch.Tensor):
            self._visit_tensor(obj)
        elif isinstance(obj, type):
            self._visit_class(obj)
        elif isinstance(obj, tuple):
            self._queue += obj
        elif getattr(type(obj), "_counts_changes", False):
            self._visit_module(obj)
        else:
            self._visit_instance(obj)

    # --- containers

    def _visit_dict(self, d: dict) -> None:
        self.dicts.append((d, tuple(d), tuple(d.values())))
        self._queue += d.values()

    def _visit_list(self, items: list) -> None:
        self.lists.append((items, tuple(items)))
        self._queue += items

    def _visit_set(self, items: set) -> None:
        self.sets.append((items, frozenset(items)))
        self._queue += items

    def _visit_cell(self, cell: types.CellType) -> None:
        try:
            value = cell.cell_contents
        except ValueError:
            raise Unknown("a closure's variable that has no value yet") from None
        self.cells.append((cell, value))
        self._queue.append(value)

    def _key(self, d: Any, key: str) -> None:
        value = d.get(key, _MISSING)
        self.keys.append((d, key, value))
        if value is not _MISSING:
            self._queue.append(value)

    # --- the checks

    def holds(self) -> bool:
        """Whether everything that was visited is as it was."""
        for d, key, value in self.keys:
            found = d.get(key, _MISSING)
            if found is not value and not _same_scalar(found, value):
                return False
        for cell, value in self.cells:
            found = cell.cell_contents
            if found is not value and not _same_scalar(found, value):
                return False
        if not _dicts_hold(self.dicts):
            return False
        for items, before in self.lists:
            if len(items) != len(before) or not all(map(operator.is_, items, before)):
                if len(items) != len(before) or not all(map(_same, items, before)):
                    return False
        return all(items == before for items, before in self.sets)

    def modules_hold(self) -> bool:
        """Whether the attributes and hooks of all modules are as they were."""
        return _dicts_hold(self.modules) and all(_hooks_of(t) == was for t, was in self.hooks)

    # --- code

    def _visit_function(self, f: types.FunctionType) -> None:
        self._add_code(f.__code__)
        self._queue += [*(f.__closure__ or ()), *(f.__defaults__ or ())]
        self._queue += (f.__kwdefaults__ or {}).values()
        if is_user_file(f.__code__.co_filename):
            for name in _global_names(f.__code__):
                self._key(f.__globals__, name)

    def _add_code(self, code: types.CodeType) -> None:
        self.codes.add(code)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._add_code(constant)

    def _visit_method(self, method: types.MethodType) -> None:
        self._queue += [method.__self__, method.__func__]

    def _visit_partial(self, partial: functools.partial) -> None:
        self._queue += [partial.func, *partial.args, *partial.keywords.values()]

    def _visit_wrapper(self, wrapper: Any) -> None:
        self._queue.append(wrapper.__func__)

    def _visit_property(self, found: property) -> None:
        self._queue += [f for f in (found.fget, found.fset) if f is not None]

    def _visit_class(self, cls: type) -> None:
        if _is_library_class(cls) or _is_of_python(cls.__module__):
            return
        for name, value in list(cls.__dict__.items()):
            # a library may call methods that the program's own code does not name
            if self._counts(name) or isinstance(value, _METHODS):
                self._key(cls.__dict__, name)
        self._queue += cls.__bases__

    def _visit_python_module(self, module: types.ModuleType) -> None:
        if is_library_module(module.__name__) or _is_of_python(module.__name__):
            return
        for name in list(module.__dict__):
            if self._counts(name):
                self._key(module.__dict__, name)

    # --- objects

    def _counts(self, name: str) -> bool:
        return self.names is None or name in self.names

    def _visit_tensor(self, t: Any) -> None:
        extra = t.__dict__.keys() - _TENSOR_KEYS
        if extra:
            raise Unknown(f"a tensor with attributes of its own ({', '.join(sorted(extra))})")
        hooks = _hooks_of(t)
        self.hooks.append((t, hooks))
        self._queue += hooks

    def _visit_module(self, module: Any) -> None:
        """Visit a module of `nn`: a counter tells when its attributes or hooks change."""
        self._queue.append(type(module))
        own = module.__dict__
        self.modules.append((own, tuple(own), tuple(own.values())))
        for name, value in own.items():
            if isinstance(value, dict) and name.startswith("_"):
                # parameters, buffers, modules, hooks
                self.modules.append((value, tuple(value), tuple(value.values())))
                self._queue += value.values()
            elif name != "_non_persistent_buffers_set" and not isinstance(value, dispatch.Tensor):
                self._queue.append(value)

    def _visit_instance(self, obj: Any) -> None:
        cls = type(obj)
        own = getattr(obj, "__dict__", None)
        if own is None or any("__slots__" in c.__dict__ for c in cls.__mro__[:-1]):
            if _is_library_class(cls):
                return
            raise Unknown(f"an object of type {cls.__qualname__}")
        if isinstance(obj, (types.GeneratorType, np.ndarray)):
            raise Unknown(f"an object of type {cls.__qualname__}")
        self._queue.append(cls)
        if _is_library_class(cls) or self.names is None:
            self._visit_dict(own)
            return
        for name in self.names:
            # what is absent may come to hide an attribute of the class
            if name in own or hasattr(cls, name):
                self._key(own, name)


def _hooks_of(t: Any) -> list[Any]:
    return [*(t._hooks or {}).values(), *(t._post_hooks or {}).values()]


def _dicts_hold(dicts: list[tuple[dict, tuple, tuple]]) -> bool:
    for d, keys, values in dicts:
        if len(d) != len(keys):
            return False
        if not all(map(operator.is_, d, keys)) and tuple(d) != keys:
            return False
        if not all(map(operator.is_, d.values(), values)):
            if not all(map(_same, d.values(), values)):
                return False
    return True


def _same_scalar(a: Any, b: Any) -> bool:
    return a.__class__ is b.__class__ and isinstance(a, SCALARS) and a == b


def _same(a: Any, b: Any) -> bool:
    return a is b or _same_scalar(a, b)


def _is_of_python(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names and module != "__main__"


_METHODS = (types.FunctionType, staticmethod, classmethod, property)
_TENSOR_KEYS = {"_grad", "_hooks", "_post_hooks", "_version"}
_VISITS: dict[type, Any] = {
    dict: Reach._visit_dict,
    OrderedDict: Reach._visit_dict,
    defaultdict: Reach._visit_dict,
    list: Reach._visit_list,
    set: Reach._visit_set,
    frozenset: lambda reach, items: reach._queue.extend(items),
    tuple: lambda reach, items: reach._queue.extend(items),
    types.CellType: Reach._visit_cell,
    types.FunctionType: Reach._visit_function,
    types.MethodType: Reach._visit_method,
    functools.partial: Reach._visit_partial,
    staticmethod: Reach._visit_wrapper,
    classmethod: Reach._visit_wrapper,
    property: Reach._visit_property,
    types.ModuleType: Reach._visit_python_module,
}
