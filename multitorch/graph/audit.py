"""Watch a function run, to know whether running it again could do anything but the same.

While it records, `sys.setprofile` reports every call. What the program's own code calls must be
free of side effects and not depend on the outside world: multitorch, arithmetic, methods that only
read, changes to containers that the call itself made.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from multitorch.graph.reach import (
    Unknown,
    is_library_file,
    is_library_module,
    is_stdlib_file,
    is_user_file,
)

_PURE = frozenset(
    "abs all any bin bool callable chr divmod format hash hex id isinstance "
    "issubclass iter len max min oct ord pow repr round sorted sum __build_class__".split()
)
_BY_NAME = frozenset(("getattr", "hasattr", "vars", "dir"))
_PURE_MODULES = frozenset(("math", "cmath", "_operator", "_functools", "itertools", "_collections"))
_CALM = (
    "contextlib.py",
    "functools.py",
    "enum.py",
    "typing.py",
    "types.py",
    "abc.py",
    "_py_abc.py",
)
_MAKES_A_NAMED_TUPLE = ("_tuple_new",)
_VALUES = (str, bytes, int, float, complex, tuple, frozenset, range, slice, type)
_CONTAINERS = (list, dict, set)
_READERS = frozenset(
    "get keys values items index count copy __contains__ __getitem__ __len__ __iter__ union "
    "intersection difference issubset issuperset isdisjoint".split()
)


class Audit:
    """The block in which the calls of this thread are looked at."""

    def __init__(self) -> None:
        self.codes: set[types.CodeType] = set()
        """The program's own code that ran."""
        self.changed: list[Any] = []
        """Containers that it changed: none of them may be older than the call."""
        self.any_name = False
        """Whether attributes were read whose names the code does not spell out."""
        self.reason: str | None = None

    def __enter__(self) -> Audit:
        if sys.getprofile() is not None:
            self.reason = "a profiler is running"
        else:
            sys.setprofile(self._event)
        return self

    def __exit__(self, *exc: object) -> None:
        if sys.getprofile() == self._event:
            sys.setprofile(None)

    @property
    def names(self) -> frozenset[str] | None:
        """The attributes that the program's code mentions; None if it may read any."""
        if self.any_name:
            return None
        return frozenset(n for code in self.codes for n in code.co_names)

    def check(self, seen: dict[int, Any]) -> None:
        """Raise `Unknown` if what ran could have effects beyond the objects of the call."""
        if self.reason is not None:
            raise Unknown(self.reason)
        for obj in self.changed:
            if id(obj) in seen:
                raise Unknown(f"it changes a {type(obj).__name__} that is older than the call")

    def _event(self, frame: types.FrameType, event: str, arg: Any) -> None:
        if self.reason is not None:
            return
        if event == "call":
            self._python_call(frame)
        elif event == "c_call" and is_user_file(frame.f_code.co_filename):
            self._c_call(arg)

    def _python_call(self, frame: types.FrameType) -> None:
        code = frame.f_code
        if code in self.codes:
            return
        name = code.co_filename
        if is_library_file(name) or code.co_names == _MAKES_A_NAMED_TUPLE:
            return
        if is_library_module(frame.f_globals.get("__name__", "")):
            return
        if not is_stdlib_file(name):
            self.codes.add(code)
        elif not name.endswith(_CALM) and not name.startswith("<frozen"):
            caller = frame.f_back
            if caller is not None and is_user_file(caller.f_code.co_filename):
                self.reason = f"it calls {code.co_qualname} of {name.rpartition('/')[2]}"

    def _c_call(self, function: Any) -> None:
        name, owner = function.__name__, getattr(function, "__self__", None)
        if owner is None or isinstance(owner, types.ModuleType):
            module = getattr(function, "__module__", None) or getattr(owner, "__name__", "")
            if module in _PURE_MODULES or (module == "builtins" and name in _PURE):
                return
            if module == "builtins" and name in _BY_NAME:
                self.any_name = True
            else:
                self.reason = f"it calls {module}.{name}"
        elif isinstance(owner, _CONTAINERS):
            if name not in _READERS:
                self.changed.append(owner)
        elif not isinstance(owner, _VALUES):
            self.reason = f"it calls {name} of an object of type {type(owner).__qualname__}"
