"""Interpolation, sampling at points, unpooling: values by hand, against PyTorch, and bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import multitorch as mt
from multitorch.ops.resample_tables import tables
from tests.against_torch import compare

F = mt.nn.functional
RNG = np.random.default_rng(5)


def image(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


# --- interpolation -------------------------------------------------------------------------------


def test_known_values(device):
    x = mt.tensor([[[0.0, 2.0, 4.0]]], device=device)
    assert F.interpolate(x, 6).tolist() == [[[0, 0, 2, 2, 4, 4]]]
    assert F.interpolate(x, 5, mode="linear", align_corners=True).tolist() == [[[0, 1, 2, 3, 4]]]
    found = F.interpolate(x, scale_factor=2, mode="linear")
    mt.testing.assert_close(found, mt.tensor([[[0, 0.5, 1.5, 2.5, 3.5, 4]]], device=device))
    assert F.interpolate(x, 1, mode="area").tolist() == [[[2]]]


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic", "linear-filter", "cubic-filter"])
@pytest.mark.parametrize("n, size", [(5, 9), (9, 4), (1, 3), (6, 1), (40, 3)])
def test_weights_add_up_and_transpose(mode, n, size):
    index, weight, back_index, back_weight = tables(mode, n, size, None, False, True)
    np.testing.assert_allclose(weight.sum(1), 1)
    dense, back = np.zeros((size, n)), np.zeros((n, size))
    np.add.at(dense, (np.arange(size)[:, None], index), weight)
    np.add.at(back, (np.arange(n)[:, None], back_index), back_weight)
    np.testing.assert_allclose(dense.T, back)


MODES = [
    ("nearest", {}, (2, 3, 5)), ("nearest-exact", {}, (1, 2, 4, 5)), ("area", {}, (1, 2, 4, 5)),
    ("linear", {"align_corners": True}, (2, 3, 5)), ("bilinear", {}, (1, 2, 4, 5)),
    ("bilinear", {"align_corners": True}, (1, 2, 4, 5)),
    ("bilinear", {"antialias": True}, (1, 2, 4, 5)), ("bicubic", {}, (1, 2, 4, 5)),
    ("bicubic", {"antialias": True}, (1, 2, 4, 5)), ("trilinear", {}, (1, 2, 3, 4, 2)),
]  # fmt: skip


@pytest.mark.parametrize(
    "size", [{"size": 7}, {"scale_factor": 0.7}, {"scale_factor": 1.7}], ids=str
)
@pytest.mark.parametrize("mode, options, shape", MODES, ids=str)
def test_interpolate(oracle, device, mode, options, shape, size):
    if device != "cpu" and ("size" not in size or options or mode == "area"):
        pytest.skip("the tables are the cpu's")
    compare(
        oracle, device,
        lambda lib, x: lib.nn.functional.interpolate(x, mode=mode, **size, **options),
        image(*shape),
    )  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"antialias": True}, {"align_corners": True}], ids=str)
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_bytes(oracle, device, mode, options):
    if mode == "nearest":
        options = {}
    x = RNG.integers(0, 256, (2, 3, 9, 8)).astype(np.uint8)
    found, expected = (
        lib.nn.functional.interpolate(lib.tensor(x, device=d), (5, 13), mode=mode, **options)
        for lib, d in ((mt, device), (oracle, "cpu"))
    )
    assert found.dtype is mt.uint8
    away = found.cpu().numpy().astype(int) - expected.numpy().astype(int)
    assert np.abs(away).max() <= (mode == "bicubic")  # PyTorch adds up taps that coincide


def test_infinity_stays_where_it_is(device):
    x = mt.tensor([[[0.0, mt.inf, 0.0, 0.0, 0.0, 0.0]]], device=device)
    found = F.interpolate(x, 12, mode="linear")
    assert found[0, 0, 5:].tolist() == [0.0] * 7


BAD = [
    (ValueError, "either size or scale_factor", {}, 3),
    (ValueError, "only one of size or", {"size": 2, "scale_factor": 2}, 3),
    (ValueError, "same number of spatial dim", {"size": (2, 2)}, 3),
    (ValueError, "align_corners option", {"size": 2, "align_corners": True}, 3),
    (ValueError, "explicit size", {"size": 2, "recompute_scale_factor": True}, 3),
    (ValueError, "Anti-alias", {"size": 2, "mode": "linear", "antialias": True}, 3),
    (NotImplementedError, "bilinear mode needs 4D", {"size": 2, "mode": "bilinear"}, 3),
    (NotImplementedError, "3D, 4D and 5D", {"size": 2, "mode": "sinc"}, 3),
    (NotImplementedError, "3D, 4D and 5D", {"size": ()}, 2),
    (RuntimeError, "greater than 0", {"size": 0}, 3),
]  # fmt: skip


@pytest.mark.parametrize("kind, text, options, rank", BAD, ids=str)
def test_bad_arguments(kind, text, options, rank):
    with pytest.raises(kind, match=text):
        F.interpolate(mt.ones((2,) * rank), **options)


def test_older_names():
    x = mt.ones(1, 1, 2, 2)
    for name in ("upsample", "upsample_nearest", "upsample_bilinear"):
        with pytest.warns(UserWarning, match="deprecated"):
            assert getattr(F, name)(x, scale_factor=2).shape == (1, 1, 4, 4)


# --- grids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("sizes", [(3, 4), (3, 4, 2)])
def test_identity_gives_the_image_back(device, sizes, align):
    if device != "cpu" and not (align and len(sizes) == 2):
        pytest.skip("a composite: one case shows that it runs")
    n = len(sizes)
    x = mt.tensor(image(2, 3, *sizes), device=device)
    theta = mt.eye(n, n + 1, dtype=mt.float64, device=device).expand(2, n, n + 1)
    grid = F.affine_grid(theta, x.shape, align_corners=align)
    for padding in ("zeros", "border", "reflection")[: 3 if device == "cpu" else 1]:
        found = F.grid_sample(x, grid, padding_mode=padding, align_corners=align)
        mt.testing.assert_close(found, x)


@pytest.mark.parametrize("align", [True, False])
def test_affine_grid(oracle, device, align):
    for shape, size in (((2, 2, 3), (2, 1, 3, 5)), ((2, 3, 4), (2, 1, 3, 4, 2))):
        compare(
            oracle, device,
            lambda lib, t, size=size: lib.nn.functional.affine_grid(t, size, align_corners=align),
            image(*shape),
        )  # fmt: skip


def test_points_that_are_nowhere():
    x = mt.ones(1, 1, 2, 2)
    grid = mt.tensor([[[[mt.nan, 0.0], [mt.inf, 0.0], [0.0, 0.0]]]])
    for mode in ("bilinear", "nearest"):
        assert F.grid_sample(x, grid, mode, align_corners=True).tolist() == [[[[0, 0, 1]]]]


def test_bad_grids():
    x, grid = mt.ones(1, 1, 2, 2), mt.zeros(1, 2, 2, 2)
    with pytest.raises(ValueError, match="expected mode to be"):
        F.grid_sample(x, grid, "cubic")
    with pytest.raises(ValueError, match="expected padding_mode to be"):
        F.grid_sample(x, grid, padding_mode="wrap")
    with pytest.warns(UserWarning, match="align_corners"):
        F.grid_sample(x, grid)
    for bad in (mt.zeros(2, 2, 2, 2), mt.zeros(1, 2, 2, 3), mt.zeros(1, 2, 2), grid.double()):
        with pytest.raises(RuntimeError, match="grid_sampler"):
            F.grid_sample(x, bad, align_corners=True)
    with pytest.raises(ValueError, match="affine matrices"):
        F.affine_grid(mt.ones(1, 2, 2), (1, 1, 2, 2), align_corners=True)


# --- pooling undone, pooling at random places ----------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_keeps_the_maxima(device, n):
    x = mt.tensor(image(2, 3, *(6, 5, 4)[:n]), device=device)
    pooled, at = getattr(F, f"max_pool{n}d")(x, 2, return_indices=True)
    back = getattr(F, f"max_unpool{n}d")(pooled, at, 2, output_size=x.shape)
    assert back.shape == x.shape
    mt.testing.assert_close(back, mt.where(back != 0, x, 0.0))
    assert int((back != 0).sum()) == pooled.numel()


def test_bad_unpooling():
    x, at = mt.ones(1, 1, 2), mt.zeros(1, 1, 2, dtype=mt.int64)
    with pytest.raises(ValueError, match="invalid output_size"):
        F.max_unpool1d(x, at, 2, output_size=[9])
    with pytest.raises(RuntimeError, match="invalid max index"):
        F.max_unpool1d(x, at + 4, 2)
    with pytest.raises(RuntimeError, match="int64"):
        F.max_unpool1d(x, at.int(), 2)
    with pytest.raises(RuntimeError, match="shape of indices"):
        F.max_unpool1d(x, at[..., :1], 2)


def test_fractional_pooling_finds_maxima_of_windows():
    x = mt.tensor(image(2, 3, 9, 8))
    values, at = F.fractional_max_pool2d(x, 3, (4, 5), return_indices=True)
    assert values.shape == at.shape == (2, 3, 4, 5)
    mt.testing.assert_close(x.flatten(2).gather(2, at.flatten(2)), values.flatten(2))
    corner = x[..., -3:, -3:].amax((2, 3))  # the last window ends at the border
    mt.testing.assert_close(values[..., -1, -1], corner)
    with pytest.raises(ValueError, match="requires specifying"):
        F.fractional_max_pool2d(x, 3)
    with pytest.raises(RuntimeError, match="too large"):
        F.fractional_max_pool2d(x, 5, 5)


# --- without data, and compiled ------------------------------------------------------------------

PROGRAMS = {
    "bilinear": lambda x: F.interpolate(x, (6, 7), mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, (3, 9), mode="bicubic", antialias=True),
    "grid": lambda x: F.grid_sample(x, x.new_zeros(2, 5, 6, 2), align_corners=True),
    "unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "fractional": lambda x: F.fractional_max_pool2d(
        x, 2, 3, _random_samples=x.new_full((2, 3, 2), 0.3)
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_meta(name):
    program, x = PROGRAMS[name], mt.ones(2, 3, 8, 8)
    assert program(x.to("meta")).shape == program(x).shape


@pytest.mark.parametrize("name", ["bilinear", "grid"])
def test_compiled(name):
    pytest.importorskip("jax", reason="compile needs JAX")

    def step(x):
        x = x.detach().requires_grad_()
        y = PROGRAMS[name](x)
        y.square().sum().backward()
        return y.detach(), x.grad

    x, compiled = mt.tensor(image(2, 3, 8, 8)), mt.compile(step)
    for _ in range(2):
        for found, expected in zip(compiled(x), step(x), strict=True):
            mt.testing.assert_close(found, expected)
    assert compiled.compiles == 1


def test_no_warning_where_all_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.grid_sample(mt.ones(1, 1, 2, 2), mt.zeros(1, 2, 2, 2), align_corners=False)
