"""Reading and writing by index, with keys of every kind, compared with PyTorch and with NumPy."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import multitorch as mt

SHAPES = [(5,), (3, 4), (2, 3, 4), (4, 1, 3), (2, 2, 3, 2), (0, 3), (1,), ()]


def many(device: str, examples: int) -> settings:
    """Return settings for a property; devices that compile for every shape get fewer examples."""
    return settings(
        max_examples=examples if device in ("cpu", "mini") else examples // 30,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    n = math.prod(shape)
    return ((np.arange(n) * 37 + seed * 11) % 101 + 1).reshape(shape) / 101


def to_numpy(t: Any) -> np.ndarray:
    return np.array(t.detach().cpu().numpy())


def torch_world(lib: Any, device: str) -> SimpleNamespace:
    """Return what the text of a key may name: ``i`` makes index tensors and ``b`` masks."""
    return SimpleNamespace(
        tensor=lambda a, **kw: lib.tensor(a, device=device, **kw),
        names={
            "i": lambda items: lib.tensor(items, dtype=lib.int64, device=device),
            "i32": lambda items: lib.tensor(items, dtype=lib.int32, device=device),
            "b": lambda items: lib.tensor(items, dtype=lib.bool, device=device),
            "np": np,
        },
    )


NUMPY_NAMES = {
    "i": lambda items: np.array(items, dtype=np.int64),
    "i32": lambda items: np.array(items, dtype=np.int32),
    "b": lambda items: np.array(items, dtype=bool),
    "np": np,
}


# ---- keys as text -------------------------------------------------------------------------------

KINDS = ["int", "slice", "slice", "none", "tensor", "tensor", "list", "array", "mask", "zero_dim"]


@st.composite
def keys(draw, shape: tuple[int, ...], kinds: tuple[str, ...] = tuple(KINDS)) -> str:
    """Return the text of a key that mostly fits ``shape``."""
    length = draw(st.integers(1, 3))
    empty = 0 in shape  # where nothing can be selected, PyTorch lets some indices pass unseen
    used = draw(st.integers(0, len(shape)))
    head = draw(st.integers(0, used))
    parts = parts_for(draw, shape[:head], kinds, length, empty)
    if used > head or draw(st.booleans()):
        parts.append("...")
        parts += parts_for(draw, shape[len(shape) - (used - head) :], kinds, length, empty)
    if draw(st.integers(0, 40)) == 23:
        odd = ["0", ":", "i([0])", "1.5", "True", "False", "::-1"]
        parts.append(draw(st.sampled_from(odd[: None if shape else -1])))
    return ", ".join(parts) if parts else "..."


def parts_for(
    draw, sizes: tuple[int, ...], kinds: tuple[str, ...], length: int, empty: bool
) -> list[str]:
    parts, dim = [], 0
    while dim < len(sizes):
        kind = draw(st.sampled_from(kinds))
        if kind == "none":
            parts.append("None")
            continue
        if kind == "mask":
            width = draw(st.integers(1, min(2, len(sizes) - dim)))
            parts.append(f"b({mask(draw, sizes[dim : dim + width])})")
            dim += width
            continue
        parts.append(part_for(draw, kind, sizes[dim], length, empty))
        dim += 1
    return parts


def mask(draw, sizes: tuple[int, ...]) -> list:
    if draw(st.integers(0, 40)) == 23:
        sizes = (*sizes[:-1], sizes[-1] + 1)
    flat = draw(st.lists(st.booleans(), min_size=math.prod(sizes), max_size=math.prod(sizes)))
    return np.array(flat, dtype=bool).reshape(sizes).tolist()


def part_for(draw, kind: str, size: int, length: int, empty: bool) -> str:
    if kind == "slice":
        ends = st.none() | st.integers(-size - 2, size + 2)
        start, stop, step = draw(ends), draw(ends), draw(st.none() | st.integers(1, 3))
        return ":".join("" if v is None else str(v) for v in (start, stop, step))
    far = draw(st.integers(0, 60)) == 23 and not empty
    one = st.integers(-size, size - 1 + far) if size or far else st.just(0)
    if kind == "int":
        return str(draw(one))
    if kind == "zero_dim":
        return f"i({draw(one)})"
    items = [draw(one) for _ in range(draw(st.sampled_from([length, length, 1])))]
    if kind == "tensor" and draw(st.booleans()):
        return f"i({[[v] for v in items]})"
    return {"tensor": f"i({items})", "list": f"{items}", "array": f"np.array({items})"}[kind]


def unchecked(device: str, key: str, expected: Any) -> bool:
    """Say whether an error is one that index tensors on an accelerator are not looked at for."""
    on_host = device == "cpu" or ("i(" not in key and "i32(" not in key)
    return not on_host and isinstance(expected, IndexError) and "out of" in str(expected)


def outcome(f) -> Any:
    try:
        return f()
    except Exception as error:
        return error


def assert_same(got: Any, expected: Any, what: str) -> None:
    """Compare results, or errors by type."""
    if isinstance(expected, Exception):
        assert isinstance(got, type(expected)), f"{what}: expected {expected!r}, got {got!r}"
        return
    if isinstance(got, Exception):
        raise AssertionError(f"{what} raised {got!r}") from got
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.shape == theirs.shape, f"{what}: shape {mine.shape}, expected {theirs.shape}"
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, err_msg=what)


# ---- reading ------------------------------------------------------------------------------------


def read(world: SimpleNamespace, shape: tuple[int, ...], key: str) -> list[np.ndarray]:
    """Return ``x[key]`` and the gradient of a weighted sum of it."""
    x = world.tensor(numbers(shape), requires_grad=True)
    y = eval(f"x[{key}]", {**world.names, "x": x})
    (y * world.tensor(numbers(tuple(y.shape), 5))).sum().backward()
    return [to_numpy(y), to_numpy(x.grad)]


@pytest.mark.oracle
def test_reading_as_pytorch(oracle, device):
    ours, theirs = torch_world(mt, device), torch_world(oracle, "cpu")

    @many(device, 400)
    @given(st.data())
    def check(data):
        shape = data.draw(st.sampled_from(SHAPES))
        key = data.draw(keys(shape))
        expected = outcome(lambda: read(theirs, shape, key))
        if unchecked(device, key, expected):
            return
        got = outcome(lambda: read(ours, shape, key))
        assert_same(got, expected, f"x{shape}[{key}]")

    check()


def test_reading_as_numpy(device):
    world = torch_world(mt, device)
    # With an int beside arrays NumPy orders dims differently from PyTorch
    basic = ("int", "slice", "none")
    advanced = ("slice", "none", "tensor", "list", "array", "mask")

    @many(device, 200)
    @given(st.data())
    def check(data):
        shape = data.draw(st.sampled_from(SHAPES))
        key = data.draw(keys(shape, data.draw(st.sampled_from([basic, advanced]))))
        if any(word in key for word in ("::-1", "True", "False", "1.5")):
            return
        if "..." in key and ("(" in key or "[" in key):
            return  # NumPy takes arrays for apart if an ellipsis of no dims stands between them
        a = numbers(shape)
        expected = outcome(lambda: [np.asarray(eval(f"a[{key}]", {**NUMPY_NAMES, "a": a}))])
        if unchecked(device, key, expected):
            return
        got = outcome(lambda: read(world, shape, key)[:1])
        assert_same(got, expected, f"x{shape}[{key}]")

    check()


# ---- writing ------------------------------------------------------------------------------------


def write(world: SimpleNamespace, shape: tuple[int, ...], key: str, value: Any, how: str) -> list:
    """Return the tensor after ``x[key] = value`` and the gradients of both."""
    leaf = world.tensor(numbers(shape), requires_grad=True)
    names = {**world.names, "x": leaf.clone(), "v": value}
    if isinstance(value, np.ndarray):
        names["v"] = v = world.tensor(value, requires_grad=True)
    exec(f"x[{key}] {how} v", names)
    x = names["x"]
    (x * world.tensor(numbers(shape, 7))).sum().backward()
    gradients = [leaf.grad]
    if isinstance(value, np.ndarray):
        gradients.append(v.grad if v.grad is not None else v.new_zeros(v.shape))
    return [to_numpy(t) for t in (x, *gradients)]


def drawn_value(data: st.DataObject, shape: tuple[int, ...], key: str) -> Any:
    """Return a number, or an array that broadcasts to what the key selects."""
    places = outcome(
        lambda: eval(
            f"a[{key}]",
            {**NUMPY_NAMES, "a": np.arange(math.prod(shape)).reshape(shape)},
        )
    )
    if isinstance(places, Exception) or len(np.unique(places)) < np.size(places):
        return 0.5  # which of several values lands in one place is left open
    if data.draw(st.integers(0, 2)) == 0:
        return data.draw(st.sampled_from([0.5, 2, True]))
    target = list(np.shape(places))
    if data.draw(st.integers(0, 30)) == 23:
        target = [*target, 7]
    lead = data.draw(st.integers(0, len(target)))
    sizes = [data.draw(st.sampled_from([s, s, s, 1])) for s in target[lead:]]
    return numbers(tuple(sizes), 3)


@pytest.mark.oracle
def test_writing_as_pytorch(oracle, device):
    ours, theirs = torch_world(mt, device), torch_world(oracle, "cpu")
    kinds = tuple(k for k in KINDS if k != "int")

    @many(device, 400)
    @given(st.data())
    def check(data):
        shape = data.draw(st.sampled_from(SHAPES))
        key = data.draw(keys(shape, data.draw(st.sampled_from([tuple(KINDS), kinds]))))
        value = drawn_value(data, shape, key)
        how = data.draw(st.sampled_from(["=", "=", "="] + ["*="] * (value is not True)))
        expected = outcome(lambda: write(theirs, shape, key, value, how))
        if unchecked(device, key, expected):
            return
        got = outcome(lambda: write(ours, shape, key, value, how))
        text = f"shape {value.shape}" if isinstance(value, np.ndarray) else value
        assert_same(got, expected, f"x{shape}[{key}] {how} {text}")

    check()


def test_writing_leaves_the_rest_alone(device):
    x = mt.arange(12, device=device).reshape(3, 4)
    x[1:, ::2] = mt.tensor([[-1], [-2]], device=device)
    assert x.tolist() == [[0, 1, 2, 3], [-1, 5, -1, 7], [-2, 9, -2, 11]]
    x[x < 0] = 0
    assert x.tolist() == [[0, 1, 2, 3], [0, 5, 0, 7], [0, 9, 0, 11]]
    x[[0, 2], [1, 3]] = mt.tensor([100, 200], device=device)
    assert x.tolist() == [[0, 100, 2, 3], [0, 5, 0, 7], [0, 9, 0, 200]]


def test_writing_casts_the_value(device):
    x = mt.zeros(3, dtype=mt.int64, device=device)
    x[0] = 2.7
    x[1:] = mt.tensor([1.5, -1.5], device=device)
    assert x.tolist() == [2, 1, -1]


def test_a_failed_write_changes_nothing(device):
    x = mt.arange(6.0, device=device).reshape(2, 3)
    before = x.tolist()
    far = [((mt.tensor([0, 9]),), 1.0)] if device == "cpu" else []  # looked at on the host only
    for key, value in [
        ((0, 7), 1.0),
        (slice(None), mt.ones(4, device=device)),
        (([0, 9],), 1.0),
        (mt.ones(3, dtype=mt.bool, device=device), 1.0),
        *far,
    ]:
        with pytest.raises((IndexError, RuntimeError)):
            x[key] = value
        assert x.tolist() == before


def test_reads_by_slices_are_views_and_by_arrays_are_copies(device):
    x = mt.zeros(2, 3, device=device)
    x[0, 1:].fill_(1)
    x[:, None, 0].add_(5)
    assert x.tolist() == [[5, 1, 1], [5, 0, 0]]
    x[[0]].fill_(9)
    x[x > 0].fill_(9)
    assert x.tolist() == [[5, 1, 1], [5, 0, 0]]


def test_repeated_indices_sum_their_gradients(device):
    x = mt.zeros(3, device=device, requires_grad=True)
    x[[0, 0, 2, 0]].sum().backward()
    assert x.grad.tolist() == [3, 0, 1]


def test_index_put_accumulates(device):
    x = mt.zeros(3, device=device)
    where = (mt.tensor([0, 0, 2], device=device),)
    x.index_put_(where, mt.tensor([1.0, 2.0, 4.0], device=device), accumulate=True)
    assert x.tolist() == [3, 0, 4]


@pytest.mark.parametrize(
    "key, error, phrase",
    [
        ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
        ((5,), IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        ((slice(None), -4), IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
        ((slice(None, None, -1),), ValueError, "step must be greater than zero"),
        ((1.5,), (IndexError, TypeError), None),
    ],
)
def test_errors_of_reading(device, key, error, phrase):
    x = mt.zeros(2, 3, device=device)
    with pytest.raises(error, match=phrase):
        x[key]


def test_errors_name_the_shapes(device):
    x = mt.zeros(2, 3, device=device)
    with pytest.raises(IndexError, match=r"shape of the mask \[3\].*does not match"):
        x[mt.ones(3, dtype=mt.bool, device=device)]
    with pytest.raises(IndexError, match="could not be broadcast together"):
        x[mt.tensor([0, 1], device=device), mt.tensor([0, 1, 2], device=device)]
    with pytest.raises(IndexError, match="tensors used as indices must be"):
        x[mt.tensor([0.0], device=device)]
    with pytest.raises(IndexError):
        mt.tensor(1.0, device=device)[0]


def test_integer_tensor_index_of_zero_dims_selects(device):
    x = mt.arange(6, device=device).reshape(2, 3)
    i = mt.tensor(1, device=device)
    assert x[i].tolist() == [3, 4, 5] and x[i, i].item() == 4
    assert x[0].tolist() == [0, 1, 2] and [0, 10, 20][i] == 10


def test_scalars_of_type_bool_add_a_dim(device):
    x = mt.arange(3, device=device)
    assert tuple(x[True].shape) == (1, 3) and tuple(x[False].shape) == (0, 3)
    assert tuple(x[None, ..., None].shape) == (1, 3, 1)
