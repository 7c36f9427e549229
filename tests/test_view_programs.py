"""Random programs of views and in-place writes, run side by side with PyTorch.

A program is a list of Python lines on tensors that share memory. It is written line by line with
PyTorch's tensors in view (so that shapes fit), and every line is then run on multitorch. After each
line every live tensor must agree; at the end, so must the gradient of a weighted sum of them all.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import multitorch

MAX_LIVE = 6
MAX_NUMEL = 64
STARTS = [(4, 6), (2, 3, 4), (12,), (3, 1, 4), (2, 2, 2, 2), (1,), ()]


class World:
    """One library running a program: the names t0, t1, … and what is behind them."""

    def __init__(self, lib: Any, device: str, start: tuple[int, ...], grad: bool) -> None:
        self.lib, self.device = lib, device
        self.leaf = self.array(values(start, 1))
        if grad:
            self.leaf.requires_grad_()
        self.names: dict[str, Any] = {
            "const": lambda *shape, seed: self.array(values(shape, seed)),
            "mask": lambda *shape, seed: self.array(values(shape, seed) > 0.5),
            "index": lambda items: self.array(np.array(items, dtype=np.int64)),
            "views": one_by_one if lib.__name__ == "torch" else all_at_once,
            "t0": self.leaf.clone(),
        }

    def array(self, a: np.ndarray) -> Any:
        return self.lib.tensor(a, dtype=dtype_of(self.lib, a), device=self.device)

    @property
    def live(self) -> dict[str, Any]:
        return {k: t for k, t in self.names.items() if k.startswith("t") and k[1:].isdigit()}

    def run(self, line: str) -> Exception | None:
        try:
            exec(line, self.names)
        except Exception as error:
            return error
        return None

    def backward(self) -> Exception | np.ndarray | None:
        """Return the leaf's gradient for a weighted sum of the live tensors, or the error."""
        try:
            terms = [
                (t * self.array(values(tuple(t.shape), 100 + i))).sum()
                for i, t in enumerate(self.live.values())
                if t.requires_grad
            ]
            if not terms:
                return None
            sum(terms[1:], terms[0]).backward()
        except Exception as error:
            return error
        return to_numpy(self.leaf.grad)


def all_at_once(x: Any, method: str, *args: int) -> Any:
    return getattr(x, method)(*args)


def one_by_one(x: Any, method: str, *args: int) -> list[Any]:
    """Make the views that split, chunk and unbind give, one at a time.

    PyTorch forbids writes to the outputs of a function that returns several views (and reads of
    them, once their base was written to). multitorch allows them, as for any other view.
    """
    if method == "unbind":
        return [x.select(0, i) for i in range(x.shape[0])]
    dim = args[1] if len(args) > 1 else 0
    starts = itertools.accumulate([0] + [t.shape[dim] for t in getattr(x, method)(*args)])
    return [x.narrow(dim, a, b - a) for a, b in itertools.pairwise(starts)]


def values(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return numbers in (0, 1] that differ from each other and are exact to few digits."""
    n = math.prod(shape)
    return ((np.arange(n) * 37 + seed * 11) % 101 + 1).reshape(shape) / 101


def dtype_of(lib: Any, a: np.ndarray) -> Any:
    return {"f": lib.float64, "i": lib.int64, "b": lib.bool}[a.dtype.kind]


def to_numpy(t: Any) -> np.ndarray | None:
    return None if t is None else np.array(t.detach().cpu().numpy())


# ---- writing a program --------------------------------------------------------------------------


class Writer:
    """Draws the pieces of a line; now and then one that does not fit."""

    def __init__(self, data: st.DataObject, world: World) -> None:
        self.data, self.world = data, world
        self.count = 1
        self.seeds = itertools.count(2)

    def int(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, max(low, high)))

    def choice(self, options: Any) -> Any:
        return self.data.draw(st.sampled_from(list(options)))

    def slip(self) -> bool:
        return self.int(0, 40) == 23

    def dim(self, x: Any) -> int:
        if self.slip():
            return x.dim() + 1
        return self.int(-x.dim(), x.dim() - 1) if x.dim() else 0

    def seed(self) -> int:
        return next(self.seeds)

    def new_name(self) -> str:
        self.count += 1
        return f"t{self.count - 1}"

    def line(self) -> str:
        live = self.world.live
        if len(live) >= MAX_LIVE:
            return f"del {self.choice(list(live)[1:])}"
        name = self.choice(live)
        x = live[name]
        if self.int(0, 2):
            write = self.choice(WRITES)(self, x)
            if write is not None and may_write(x):
                return f"{name}{write}"
        made = self.choice(VIEWS)(self, x)
        if made is None or x.numel() > MAX_NUMEL:
            return f"{self.new_name()} = {name}[...]"
        if isinstance(made, str):
            return f"{self.new_name()} = {name}{made}"
        arguments, outputs = made
        names = "".join(self.new_name() + ", " for _ in range(outputs))
        return f"{names}= views({name}, {arguments})"


def offsets(x: Any) -> np.ndarray:
    """Return the place in the storage of every element."""
    out = np.array(x.storage_offset())
    for size, stride in zip(x.shape, x.stride(), strict=True):
        out = out[..., None] + np.arange(size) * stride
    return out


def may_write(x: Any) -> bool:
    """Say whether PyTorch defines a write: elements are apart, or plainly repeated (an error)."""
    if any(size > 1 and stride == 0 for size, stride in zip(x.shape, x.stride(), strict=True)):
        return True
    return len(np.unique(offsets(x))) == x.numel()


def repeats(x: Any) -> bool:
    return len(np.unique(offsets(x))) < x.numel()


def factored(w: Writer, numel: int) -> str:
    """Return a shape of that many elements, perhaps with one -1."""
    if w.slip():
        return f"{numel + 1}"
    sizes, rest = [], numel
    for _ in range(w.int(0, 3)):
        part = w.choice([k for k in range(1, rest + 1) if rest % k == 0] or [0])
        sizes.append(part)
        rest = rest // part if part else 0
    sizes.append(rest)
    if numel and w.int(0, 3) == 0:
        sizes[w.int(0, len(sizes) - 1)] = -1
    return ", ".join(map(str, sizes))


def piece(w: Writer, size: int) -> str:
    start, stop = w.int(-size - 1, size), w.int(-size - 1, size + 1)
    return w.choice([f"{start}:{stop}:{w.int(1, 3)}", f"{start}:", f":{stop}", f"::{w.int(1, 3)}"])


def view(w, x):
    return f".view({factored(w, x.numel())})"


def reshape(w, x):
    return f".reshape({factored(w, x.numel())})"


def transpose(w, x):
    return f".transpose({w.dim(x)}, {w.dim(x)})"


def permute(w, x):
    dims = w.data.draw(st.permutations(range(x.dim())))
    return f".permute({', '.join(map(str, dims))})" if dims else None


def matrix_transpose(w, x):
    return w.choice([".T", ".t()", ".mT"]) if x.dim() == 2 else None


def narrow(w, x):
    if not x.dim():
        return None
    d = w.dim(x)
    size = x.shape[d] if d < x.dim() else 1
    start = w.int(0, size)
    return f".narrow({d}, {start}, {w.int(0, size - start + w.slip())})"


def basic_slices(w, x):
    parts = [piece(w, size) for size in x.shape[: w.int(1, 3)]]
    return f"[{', '.join(parts)}]" if parts else None


def last_slice(w, x):
    return f"[..., {piece(w, x.shape[-1])}]" if x.dim() else None


def integer(w, x):
    return f"[{w.int(-x.shape[0], x.shape[0] - 1 + w.slip())}]" if x.dim() else None


def select(w, x):
    d = w.dim(x)
    if d >= x.dim() or not x.shape[d]:
        return None
    return f".select({d}, {w.int(-x.shape[d], x.shape[d] - 1)})"


def expand(w, x):
    sizes = [w.int(1, 3) if s == 1 else w.choice([s, -1]) for s in x.shape]
    lead = [2] * w.int(0, 1)
    return f".expand({', '.join(map(str, lead + sizes))})" if lead + sizes else None


def unsqueeze(w, x):
    return f".unsqueeze({w.int(-x.dim() - 1, x.dim() + w.slip())})"


def squeeze(w, x):
    return w.choice([".squeeze()", f".squeeze({w.dim(x)})"])


def diagonal(w, x):
    if x.dim() < 2:
        return None
    return f".diagonal({w.int(-2, 2)}, {w.dim(x)}, {w.dim(x)})"


def unfold(w, x):
    d = w.dim(x)
    size = x.shape[d] if -x.dim() <= d < x.dim() else 1
    return f".unfold({d}, {w.int(1, size + w.slip())}, {w.int(1, 3)})" if x.dim() else None


def flatten(w, x):
    return w.choice([".flatten()", f".flatten({w.dim(x)}, {w.dim(x)})"])


def detach(w, x):
    return ".detach()"


def split(w, x):
    if not x.dim() or not x.shape[0]:
        return None
    size = w.int(1, x.shape[0])
    return f"'split', {size}", math.ceil(x.shape[0] / size)


def chunk(w, x):
    if not x.dim() or not x.shape[-1]:
        return None
    n = w.int(1, 3)
    size = math.ceil(x.shape[-1] / n)
    return f"'chunk', {n}, -1", math.ceil(x.shape[-1] / size)


def unbind(w, x):
    return ("'unbind'", x.shape[0]) if x.dim() and 0 < x.shape[0] < 4 else None


def as_strided(w, x):
    sizes = [w.int(1, 3) for _ in range(w.int(0, 2))]
    strides = [w.int(0, 4) for _ in sizes]
    first, room = x.storage_offset(), x.untyped_storage().nbytes() // x.element_size()
    offset = room if w.slip() else w.int(0, room - 1)
    reach = sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if offset + reach < room:
        places = offset + sum((np.indices(sizes).T * strides).T, np.zeros(sizes, dtype=np.int64))
        if not np.isin(places, offsets(x)).all():
            return None  # PyTorch drops the gradient of what the input itself does not reach
    return f".as_strided({sizes}, {strides}{', ' + str(offset) if offset != first else ''})"


VIEWS = [
    view,
    reshape,
    transpose,
    permute,
    matrix_transpose,
    narrow,
    basic_slices,
    last_slice,
    integer,
    select,
    expand,
    unsqueeze,
    squeeze,
    diagonal,
    unfold,
    flatten,
    detach,
    split,
    chunk,
    unbind,
    as_strided,
]


def operand(w: Writer, x: Any, shape: tuple[int, ...] | None = None, aliases: bool = True) -> str:
    """Return something to write into x: a number, a new tensor or a live one that fits."""
    shape = tuple(x.shape) if shape is None else shape
    fits = [k for k, t in w.world.live.items() if broadcasts(tuple(t.shape), shape)]
    kind = w.int(0, 3)
    if kind == 0:
        return f"{w.int(-3, 3) / 2}"
    if kind == 1 and fits:
        name = w.choice(fits)
        other = w.world.live[name]
        # PyTorch leaves open what a write reads from memory that it is writing to
        return name if apart(other, x, aliases) else f"{name}.clone()"
    lead = w.int(0, len(shape))
    sizes = [1 if w.int(0, 4) == 0 else s for s in shape[lead:]]
    if w.slip():
        sizes.append(7)
    return f"const({''.join(f'{s}, ' for s in sizes)}seed={w.seed()})"


def apart(a: Any, b: Any, or_same: bool) -> bool:
    """Say whether the two share no element, or are the same view and that is allowed."""
    if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return True
    same = or_same and a.shape == b.shape and a.stride() == b.stride()
    if same and a.storage_offset() == b.storage_offset():
        return True
    return not np.intersect1d(offsets(a), offsets(b)).size


def broadcasts(small: tuple[int, ...], big: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(small, big) == big
    except ValueError:
        return False


def tensor_only(text: str) -> str:
    return f"const(seed=3) * {text}" if text[0] in "-0123456789" else text


def add(w, x):
    return f".add_({operand(w, x)})"


def add_scaled(w, x):
    return f".add_({tensor_only(operand(w, x))}, alpha={w.int(1, 3)})"


def mul(w, x):
    return f".mul_({operand(w, x)})"


def copy(w, x):
    return f".copy_({tensor_only(operand(w, x))})"


def fill(w, x):
    return None if repeats(x) else f".fill_({w.int(-3, 3) / 2})"


def zero(w, x):
    return None if repeats(x) else ".zero_()"


def clamp(w, x):
    return w.choice([".clamp_(0.25, 0.75)", ".clamp_(min=0.5)", ".clamp_(max=0.4)"])


def operator(w, x):
    return f" {w.choice(['+=', '-=', '*='])} {operand(w, x)}"


def set_all(w, x):
    return f"[...] = {operand(w, x)}"


def set_slice(w, x):
    if not x.dim() or repeats(x):
        return None
    key = piece(w, x.shape[0])
    shape = tuple(eval(f"x[{key}]", {"x": x}).shape)
    return f"[{key}] = {operand(w, x, shape, aliases=False)}"


def set_integer(w, x):
    if not x.dim() or not x.shape[0] or repeats(x):
        return None
    i = w.int(-x.shape[0], x.shape[0] - 1 + w.slip())
    return f"[{i}] = {operand(w, x, tuple(x.shape[1:]), aliases=False)}"


def set_mask(w, x):
    if repeats(x):
        return None
    shape = "".join(f"{s}, " for s in x.shape)
    return f"[mask({shape}seed={w.seed()})] = {w.int(-3, 3) / 2}"


def set_list(w, x):
    if not x.dim() or not x.shape[0] or repeats(x):
        return None
    rows = w.data.draw(st.lists(st.integers(0, x.shape[0] - 1), min_size=1, unique=True))
    return f"[index({rows})] = {operand(w, x, (len(rows), *x.shape[1:]), aliases=False)}"


def masked_fill(w, x):
    if repeats(x):
        return None
    shape = "".join(f"{s}, " for s in x.shape)
    return f".masked_fill_(mask({shape}seed={w.seed()}), {w.int(-3, 3) / 2})"


WRITES = [
    add,
    add_scaled,
    mul,
    copy,
    fill,
    zero,
    clamp,
    operator,
    set_all,
    set_slice,
    set_integer,
    set_mask,
    set_list,
    masked_fill,
]


# ---- running it ---------------------------------------------------------------------------------


def assert_same_error(ours: Any, theirs: Exception, program: str) -> None:
    got = type(ours).__name__
    assert isinstance(ours, type(theirs)), f"{program}\nexpected {theirs!r}, got {got}: {ours}"


def assert_same_tensors(ours: World, theirs: World, program: str) -> None:
    for name, expected in theirs.live.items():
        got = ours.live[name]
        assert tuple(got.shape) == tuple(expected.shape), f"{program}\n{name}: shape"
        assert got.requires_grad == expected.requires_grad, f"{program}\n{name}: requires_grad"
        np.testing.assert_allclose(
            to_numpy(got), to_numpy(expected), rtol=1e-9, atol=1e-12, err_msg=f"{program}\n{name}"
        )


def check_program(data: st.DataObject, oracle: Any, lib: Any, device: str) -> None:
    start, grad = data.draw(st.sampled_from(STARTS)), data.draw(st.integers(0, 3)) > 0
    theirs, ours = World(oracle, "cpu", start, grad), World(lib, device, start, grad)
    writer, lines = Writer(data, theirs), [f"t0 = a clone of shape {start}, grad={grad}"]
    for _ in range(data.draw(st.integers(1, 9))):
        lines.append(writer.line())
        program = "\n".join(lines)
        expected, got = theirs.run(lines[-1]), ours.run(lines[-1])
        if expected is not None:
            assert_same_error(got, expected, program)
            assert_same_tensors(ours, theirs, program)
            return
        if got is not None:
            raise AssertionError(f"{program}\nraised {got!r}") from got
        assert_same_tensors(ours, theirs, program)
    got, expected = ours.backward(), theirs.backward()
    if "modified by an inplace operation" in str(expected) and not isinstance(got, Exception):
        # where multitorch copied what it saved, PyTorch need not refuse; but it must be right
        expected = gradient_with_copies(oracle, start, lines[1:])
    compare_gradients(got, expected, program)


def compare_gradients(got: Any, expected: Any, program: str) -> None:
    if isinstance(expected, Exception):
        assert_same_error(got, expected, f"{program}\nbackward")
    elif isinstance(got, Exception):
        raise AssertionError(f"{program}\nbackward raised {got!r}") from got
    elif expected is None:
        assert got is None, f"{program}\nan unexpected gradient"
    else:
        np.testing.assert_allclose(
            got, expected, rtol=1e-9, atol=1e-12, err_msg=f"{program}\ngradient"
        )


def gradient_with_copies(oracle: Any, start: tuple[int, ...], lines: list[str]) -> Any:
    """Return PyTorch's gradient of the same program with every tensor copied before it is read."""
    world = World(oracle, "cpu", start, grad=True)
    for line in lines:
        written = re.match(r"t\d+(\.\w+_\(|\[.*\] = | .= )", line)
        if written:
            head, tail = line[: written.end()], line[written.end() :]
            line = head + re.sub(r"\bt\d+\b", r"\g<0>.clone()", tail)
        world.run(line)
    return world.backward()


def run_programs(oracle: Any, lib: Any, device: str, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    @given(st.data())
    def programs(data: st.DataObject) -> None:
        check_program(data, oracle, lib, device)

    programs()


@pytest.mark.oracle
def test_programs_of_views_and_writes(oracle, device):
    # other devices compile a kernel for every new shape
    run_programs(oracle, multitorch, device, 300 if device in ("cpu", "mini") else 12)
