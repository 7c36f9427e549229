"""What a step would cost on a TPU: memory, work, time, the operations that dominate.

  python -m multitorch estimate train.py:step --args "float32[64,784]" "int64[64]"
  python -m multitorch estimate train.py:make() --topology v5e:2x2

`script.py:fn` is the step itself; --args describes its arguments. With parentheses the function is
called first, and gives the step or a pair (step, arguments). The script is imported, so what it
does under `if __name__ == "__main__"` does not run. The exit status is 0 if the program fits, 1 if
it does not, 2 if there is nothing to estimate.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import multitorch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("target", help="script.py:fn or script.py:fn()")
    parser.add_argument("--topology", default="v5e:1x1", help="such as v5e:2x2, v5p:2x2x1, v6e:1x1")
    parser.add_argument(
        "--args", nargs="*", default=[], metavar="dtype[sizes]", help="the step's arguments"
    )
    parser.add_argument("--device", default="cpu", help="of the arguments; meta for a model there")


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    from multitorch.tpu import estimate

    try:
        step, args = find(options.target)
        args = [*args, *(argument(text, options.device) for text in options.args)]
        report = estimate(step, args, options.topology)
    except (OSError, RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(report)
    return 0 if report.fits else 1


def find(target: str) -> tuple[Callable, list[Any]]:
    """Return the step that `script.py:fn` or `script.py:fn()` names, and its arguments."""
    path, _, name = target.rpartition(":")
    called = name.endswith("()")
    name = name.removesuffix("()")
    if not path or not name.isidentifier():
        raise ValueError(f"{target!r}: expected script.py:function or script.py:function()")
    found = getattr(load(path), name, None)
    if not callable(found):
        raise ValueError(f"{path} has no function {name!r}")
    if not called:
        return found, []
    made: Any = found()
    if isinstance(made, tuple) and len(made) == 2 and callable(made[0]):
        args = made[1]
        return made[0], list(args) if isinstance(args, (tuple, list)) else [args]
    if not callable(made):
        raise ValueError(f"{target} returned {type(made).__name__}, not a step or (step, args)")
    return made, []


def load(path: str) -> Any:
    """Import a script as a module of its own name."""
    file = Path(path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def argument(text: str, device: str) -> Any:
    """Return a tensor as described by 'float32[64,784]'.

    >>> argument("int64[2]", "cpu").shape
    torch.Size([2])
    """
    match = re.fullmatch(r"(\w+)\[((?:\d+(?:,\s*\d+)*)?)\]", text.strip())
    dtype = getattr(multitorch, match.group(1), None) if match else None
    if match is None or not isinstance(dtype, multitorch.dtype):
        raise ValueError(f"{text!r}: expected a dtype and sizes, such as float32[64,784]")
    sizes = [int(n) for n in match.group(2).split(",") if n.strip()]
    return multitorch.zeros(sizes, dtype=dtype, device=device)
