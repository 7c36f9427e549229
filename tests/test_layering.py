"""The arrows between the layers: a module imports from its own layer or one below, never above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From low to high; whatever is not named stands on top, beside nn, optim and utils.
LAYERS = [
    {"backend", "dtypes"},
    {"device", "layout", "printing", "promotion", "random", "size"},
    {"autograd"},
    {"ops"},
    {"graph"},
    {"tensor"},
]
TOP = len(LAYERS)
CONTRACT = {"multitorch.backend"}
BACKENDS = {"multitorch_numpy", "multitorch_jax"}
OWN_LIBRARIES = {
    "multitorch_numpy": {"numpy", "scipy", "ml_dtypes"},
    "multitorch_jax": {"numpy", "jax", "jaxlib", "ml_dtypes"},
}


def modules(*source_roots: str) -> dict[str, Path]:
    """Map the dotted name of every module below the source roots to its file."""
    found = {}
    for source_root in source_roots:
        base = ROOT / source_root
        for package in sorted(p.parent for p in base.glob("multitorch*/__init__.py")):
            for path in sorted(package.rglob("*.py")):
                parts = path.relative_to(base).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FRONT = modules(".")
BACK = modules("backends")


def is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"


def import_nodes(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the import statements that run, function bodies included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and is_type_checking(node.test):
            for branch in node.orelse:
                yield from import_nodes(branch)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        else:
            yield from import_nodes(node)


def imports(name: str, path: Path) -> set[str]:
    """Return the full names of the modules that a module imports."""
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in import_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            parent = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parent, *([base] if base else [])])
        for alias in node.names:
            whole = f"{base}.{alias.name}"
            found.add(whole if whole in FRONT or whole in BACK else base)
    return found


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def layer(name: str) -> int:
    part = (name.split(".") + [""])[1]
    return next((i for i, members in enumerate(LAYERS) if part in members), TOP)


@pytest.mark.parametrize("name", FRONT)
def test_front_end_imports_only_downwards(name):
    upwards = {
        other
        for other in imports(name, FRONT[name])
        if within(other, {"multitorch"}) and layer(other) > layer(name)
    }
    assert not upwards, f"{name} (layer {layer(name)}) imports {sorted(upwards)} from above"


@pytest.mark.parametrize("name", FRONT)
def test_front_end_imports_no_backend_and_no_accelerator_library(name):
    forbidden = BACKENDS | {"jax", "jaxlib", "torch"}
    assert not {m for m in imports(name, FRONT[name]) if within(m, forbidden)}


@pytest.mark.parametrize("name", BACK)
def test_backend_imports_the_contract_and_its_own_library(name):
    package = name.partition(".")[0]
    allowed = CONTRACT | OWN_LIBRARIES[package] | {package}
    known = {"multitorch", "torch"} | BACKENDS | set().union(*OWN_LIBRARIES.values())
    foreign = {m for m in imports(name, BACK[name]) if within(m, known) and not within(m, allowed)}
    assert not foreign, f"{name} imports {sorted(foreign)}"


def asks_for_a_backend_by_name(node: ast.AST) -> bool:
    """Whether a comparison reads `….backend.name`, or compares with a backend's package name."""
    if not isinstance(node, ast.Compare):
        return False
    operands = [ast.unparse(side) for side in (node.left, *node.comparators)]
    return any(
        text.endswith("backend.name") or text.strip("'\"") in BACKENDS | {"numpy"}
        for text in operands
    )


@pytest.mark.parametrize("name", FRONT)
def test_front_end_never_branches_on_a_backend(name):
    tree = ast.parse(FRONT[name].read_text())
    lines = [node.lineno for node in ast.walk(tree) if asks_for_a_backend_by_name(node)]
    assert not lines, f"{FRONT[name]}: lines {lines}"
