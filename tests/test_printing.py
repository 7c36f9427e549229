"""The text of tensors: known texts, and PyTorch's own for arrays of every kind."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from multitorch import dtypes, printing
from multitorch.dtypes import ALL, NAMES, dtype
from multitorch.printing import meta_str, set_printoptions, tensor_str

PRINTABLE = [d for d in ALL if d.np is not None]
NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def default_options():
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")


def text(values, d: str = "float32", shape=None, **kwargs) -> str:
    array = np.array(values, dtype=NAMES[d].np)
    return tensor_str(array if shape is None else array.reshape(shape), dtype=NAMES[d], **kwargs)


GOLDEN = [
    ("tensor([1.0000, 2.0000, 3.5000])", [1, 2, 3.5], "float32"),
    ("tensor([1.0000e+10, 1.0000e+00])", [1e10, 1], "float32"),
    ("tensor([1.0000e-05, 1.0000e+00])", [1e-5, 1], "float32"),
    ("tensor([1.0000e+08, 1.0000e+00])", [1e8, 1], "float32"),
    ("tensor([1.0010e+03, 5.0000e-01])", [1001, 0.5], "float32"),
    ("tensor([100000.0000, 100000.5000])", [1e5, 100000.5], "float32"),
    ("tensor([1., 2.])", [1, 2], "float32"),
    ("tensor([nan, 1., 2.])", [NAN, 1, 2], "float32"),
    ("tensor([    inf, -1.5000])", [INF, -1.5], "float32"),
    ("tensor([inf, -inf])", [INF, -INF], "float32"),
    ("tensor([nan, nan, nan])", [NAN] * 3, "float32"),
    ("tensor([-0., 0.])", [-0.0, 0.0], "float32"),
    ("tensor(3)", 3, "int64"),
    ("tensor(True)", True, "bool"),
    ("tensor([ True, False])", [True, False], "bool"),
    ("tensor(3.)", 3, "float32"),
    ("tensor(-0.)", -0.0, "float32"),
    ("tensor(1.0000e+10)", 1e10, "float32"),
    ("tensor(nan)", NAN, "float32"),
    ("tensor([  1, -20, 300], dtype=torch.int16)", [1, -20, 300], "int16"),
    ("tensor([1, 2], dtype=torch.uint8)", [1, 2], "uint8"),
    ("tensor([18446744073709551615], dtype=torch.uint64)", [2**64 - 1], "uint64"),
    ("tensor([1.+0.j, 2.+0.j, 3.+4.j])", [1, 2, 3 + 4j], "complex64"),
    ("tensor([1.5000+2.0000e+00j, 0.0000+1.0000e+10j])", [1.5 + 2j, 1e10j], "complex64"),
    ("tensor(0.+1.j, dtype=torch.complex128)", 1j, "complex128"),
    ("tensor([[0.],\n        [0.]], dtype=torch.bfloat16)", [[0], [0]], "bfloat16"),
    ("tensor([0., 0.], dtype=torch.float8_e5m2)", [0, 0], "float8_e5m2"),
    ("tensor([])", [], "float32"),
    ("tensor([], dtype=torch.int64)", [], "int64"),
    ("tensor([], dtype=torch.bool)", [], "bool"),
]


@pytest.mark.parametrize("expected, values, d", GOLDEN, ids=[case[0] for case in GOLDEN])
def test_known_texts(expected, values, d):
    assert text(values, d) == expected


def test_shape_of_empty_tensors():
    assert text([], shape=(0, 3)) == "tensor([], size=(0, 3))"
    assert text([], "float64", (2, 0)) == "tensor([], size=(2, 0), dtype=torch.float64)"


def test_suffixes():
    assert text([0, 0], requires_grad=True) == "tensor([0., 0.], requires_grad=True)"
    assert (
        text([0, 0], requires_grad=True, grad_fn_name="MulBackward0")
        == "tensor([0., 0.], grad_fn=<MulBackward0>)"
    )
    assert (
        text([1], "float64", device_suffix="device='jax:0'")
        == "tensor([1.], device='jax:0', dtype=torch.float64)"
    )
    assert text([1, 2], prefix="Sub(") == "Sub([1., 2.])"
    assert text(np.ones(50), "float64", grad_fn_name="ExpBackward0") == (
        "tensor([1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1.,\n"
        "        1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1.,\n"
        "        1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1.],\n"
        "       dtype=torch.float64, grad_fn=<ExpBackward0>)"
    )


def test_tensors_without_values():
    assert (
        meta_str((2,), dtype=NAMES["int32"])
        == "tensor(..., device='meta', size=(2,), dtype=torch.int32)"
    )
    assert (
        meta_str((2, 0), dtype=NAMES["float32"], requires_grad=True)
        == "tensor(..., device='meta', size=(2, 0), requires_grad=True)"
    )


def test_large_tensors_show_their_edges():
    assert text(np.arange(10000.0), shape=(100, 100)).split("\n")[-2:] == [
        "        [9.9000e+03, 9.9010e+03, 9.9020e+03,  ..., 9.9970e+03, 9.9980e+03,",
        "         9.9990e+03]])",
    ]
    assert text(np.arange(1001), "int64") == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    assert "..." not in text(np.arange(1000), "int64")


def test_blocks_are_parted_by_empty_lines():
    assert text(np.zeros(4), shape=(2, 2, 1)) == (
        "tensor([[[0.],\n         [0.]],\n\n        [[0.],\n         [0.]]])"
    )


def test_default_dtype_needs_no_suffix():
    dtypes.set_default_dtype(NAMES["float64"])
    assert text([1], "float64") == "tensor([1.])"
    assert text([1], "float32") == "tensor([1.], dtype=torch.float32)"
    assert text([1], "complex128") == "tensor([1.+0.j])"


def test_options():
    set_printoptions(precision=2, sci_mode=True)
    assert text([1, 0.5]) == "tensor([1.00e+00, 5.00e-01])"
    set_printoptions(profile="short")
    assert printing.get_printoptions() == {
        "precision": 2,
        "threshold": 1000,
        "edgeitems": 2,
        "linewidth": 80,
        "sci_mode": None,
    }
    with printing.printoptions(edgeitems=1, threshold=2):
        assert text([1, 2, 3]) == "tensor([1.,  ..., 3.])"
    assert text([1, 2, 3]) == "tensor([1., 2., 3.])"
    with pytest.raises(ValueError, match="profile"):
        set_printoptions(profile="tall")


def test_a_large_tensor_prints_at_once():
    array = np.random.default_rng(0).random((1000, 100, 100), dtype=np.float32)
    start = time.perf_counter()
    assert text(array).count("...") == 36 + 6 + 1
    assert time.perf_counter() - start < 1.0


# ---- against PyTorch ----------------------------------------------------------------------------

OPTIONS = [
    {},
    {"precision": 2},
    {"precision": 0},
    {"profile": "short"},
    {"profile": "full"},
    {"linewidth": 40},
    {"linewidth": 5},
    {"edgeitems": 1, "threshold": 5},
    {"edgeitems": 0, "threshold": 5},
    {"edgeitems": 2, "threshold": 0},
    {"sci_mode": True},
    {"sci_mode": False, "precision": 8},
]


def to_oracle(torch, array: np.ndarray, d: dtype):
    theirs = getattr(torch, d.name)
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array.copy()).reshape(array.shape)
    bits = np.int16 if d.itemsize == 2 else np.uint8
    return torch.from_numpy(array.reshape(-1).view(bits)).view(theirs).reshape(array.shape)


def compare(torch, array: np.ndarray, d: dtype, options: dict, grad: int = 0) -> None:
    """Compare the texts; grad is 0 for none, 1 for a leaf that requires it, 2 for a result."""
    theirs = to_oracle(torch, array, d)
    if not d.inexact or d.itemsize == 1:
        grad = 0
    if grad:
        theirs.requires_grad_()
    if grad == 2:
        theirs = theirs.clone()
    torch.set_printoptions(profile="default")
    torch.set_printoptions(**options)
    set_printoptions(profile="default")
    set_printoptions(**options)
    try:
        expected = repr(theirs)
    finally:
        torch.set_printoptions(profile="default")
    name = "CloneBackward0" if grad == 2 else None
    assert (
        tensor_str(array, dtype=d, requires_grad=theirs.requires_grad, grad_fn_name=name)
        == expected
    )


SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.0]
SHAPES = [(), (0,), (1,), (7,), (0, 3), (40,), (3, 5), (8, 9), (2, 3, 4), (6, 6, 7), (2, 1, 5, 2)]


@st.composite
def arrays(draw) -> tuple[np.ndarray, dtype]:
    d = draw(st.sampled_from(PRINTABLE))
    shape = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = draw_values(draw, rng, shape)
    if d.is_complex:
        imaginary = rng.permutation(values.reshape(-1)) * 10.0 ** draw(st.integers(-3, 3))
        pair = np.stack([values.reshape(-1), imaginary], axis=-1)
        values = pair.view(np.complex128).reshape(shape)
    if not d.inexact:
        low = -1e9 if d.is_signed else 0
        values = np.clip(np.nan_to_num(values), low, 1e9)
        values = values.astype(np.int64)
    if d.name == "float8_e8m0fnu":
        # PyTorch takes NaN for a finite number here, and prints 2**-127 as 0
        values = np.clip(np.abs(np.nan_to_num(values)), 1e-30, 1e30)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(d.np).reshape(shape), d


def draw_values(draw, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.standard_normal(shape)
    match draw(st.sampled_from(["plain", "whole", "scaled", "spread", "sparse"])):
        case "whole":
            values = np.round(values * 10.0 ** draw(st.integers(0, 9)))
        case "scaled":
            values = values * 10.0 ** draw(st.integers(-9, 11))
        case "spread":
            values = values * 10.0 ** rng.integers(-4, 4, shape)
        case "sparse":
            values = np.where(rng.random(shape) < 0.5, 0, values)
    if draw(st.booleans()):
        values = np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), values)
    return values


@pytest.mark.oracle
@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=arrays(), options=st.sampled_from(OPTIONS), grad=st.integers(0, 2))
@example(case=(np.arange(1200.0), NAMES["float64"]), options={}, grad=2)
@example(case=(np.array([2**63, 1], np.uint64), NAMES["uint64"]), options={}, grad=0)
@example(case=(np.array([1e-4, 1], np.float32), NAMES["float32"]), options={}, grad=1)
@example(case=(np.array([1e8, 1e5], np.float32), NAMES["float32"]), options={}, grad=0)
@example(case=(np.array([1e3, 1e6]), NAMES["float64"]), options={}, grad=0)
@example(case=(np.array([5e-324, 1.7e308]), NAMES["float64"]), options={}, grad=0)
@example(case=(np.zeros((1, 1, 1, 1, 1, 1)), NAMES["float64"]), options={}, grad=0)
@example(
    case=(np.array([complex(NAN, -INF), complex(-0.0, -0.0)]), NAMES["complex128"]),
    options={},
    grad=0,
)
def test_texts_are_pytorchs(oracle, case, options, grad):
    compare(oracle, *case, options, grad)


@pytest.mark.oracle
@pytest.mark.parametrize("default", ["float64", "float16", "bfloat16"])
def test_suffixes_follow_the_default_dtype_as_in_pytorch(oracle, default):
    dtypes.set_default_dtype(NAMES[default])
    oracle.set_default_dtype(getattr(oracle, default))
    try:
        for d in PRINTABLE:
            compare(oracle, np.ones((2, 2)).astype(d.np), d, {})
            compare(oracle, np.ones((2, 0)).astype(d.np), d, {})
    finally:
        oracle.set_default_dtype(oracle.float32)


@pytest.mark.oracle
def test_tensors_without_values_are_pytorchs(oracle):
    for d in PRINTABLE:
        theirs = oracle.empty(3, 2, device="meta", dtype=getattr(oracle, d.name))
        assert meta_str((3, 2), dtype=d) == repr(theirs)
