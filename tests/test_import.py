"""What `import multitorch` costs and brings along, and what the built wheel holds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATHS = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'backends')!r}]; "


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PATHS + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def heavy_modules_after(code: str) -> list[str]:
    ask = "print(*[m for m in ('jax', 'scipy', 'torch', 'matplotlib') if m in sys.modules])"
    return python(f"{code}; {ask}").split()


def test_version_is_what_the_project_file_points_at():
    assert python("import multitorch; print(multitorch.__version__)") == "0.1.0"


def test_import_brings_no_heavy_library():
    assert heavy_modules_after("import multitorch") == []


def test_work_on_cpu_brings_no_heavy_library():
    code = (
        "import multitorch as mt; x = mt.ones(3, 3, requires_grad=True); "
        "(x @ x).relu().sum().backward()"
    )
    assert heavy_modules_after(code) == []


def test_absent_jax_is_a_clear_error():
    code = (
        "sys.modules['jax'] = None\n"
        "import multitorch as mt\n"
        "try: mt.ones(2, device='jax')\n"
        "except RuntimeError as error: print(error)"
    )
    assert "pip install" in python(code)


def test_package_is_typed():
    assert (ROOT / "multitorch" / "py.typed").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed"
)
def test_wheel_is_small_and_whole(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 2 * 2**20
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "multitorch",
        "multitorch_numpy",
        "multitorch_jax",
    }
    assert {"multitorch/py.typed", "multitorch/__init__.pyi", "multitorch/tensor.pyi"} <= set(names)
    (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "cpu = multitorch_numpy:load" in zipfile.ZipFile(wheel).read(entry_points).decode()
