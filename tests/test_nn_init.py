"""nn.init: PyTorch's values from the same seed, and the distributions by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import multitorch
from multitorch import nn

# name, shape, arguments
FILLS = [
    ("uniform_", (5, 7), (-2.0, 3.0)),
    ("normal_", (5, 7), (1.0, 2.0)),
    ("normal_", (3,), ()),
    ("trunc_normal_", (6, 8), ()),
    ("trunc_normal_", (6, 8), (0.5, 2.0, -1.0, 1.5)),
    ("trunc_normal_", (6, 8), (0.0, 1.0, 1.0, 2.0)),
    ("trunc_normal_", (6, 8), (0.3, 0.5, 2.0, 3.0)),
    ("constant_", (3, 2), (7.0,)),
    ("ones_", (3, 2), ()),
    ("zeros_", (3, 2), ()),
    ("eye_", (3, 5), ()),
    ("dirac_", (4, 3, 3), ()),
    ("dirac_", (4, 2, 3, 3), (2,)),
    ("dirac_", (2, 3, 2, 3, 3), ()),
    ("xavier_uniform_", (6, 4), (2.0,)),
    ("xavier_normal_", (6, 4, 3), ()),
    ("kaiming_uniform_", (6, 4, 3, 3), (math.sqrt(5),)),
    ("kaiming_uniform_", (6, 4), (0.0, "fan_out", "relu")),
    ("kaiming_normal_", (6, 4, 3), (0.1, "fan_out", "leaky_relu")),
    ("kaiming_normal_", (6, 4), (0.0, "fan_in", "tanh")),
    ("sparse_", (10, 4), (0.3,)),
]


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize(("name", "shape", "args"), FILLS, ids=[f"{f[0]}{f[1]}" for f in FILLS])
def test_a_seed_gives_pytorchs_values(name: str, shape: tuple, args: tuple, oracle: Any) -> None:
    results = []
    for library in (multitorch, oracle):
        library.manual_seed(4)
        parameter = library.nn.Parameter(library.empty(shape))
        out = getattr(library.nn.init, name)(parameter, *args)
        assert out is parameter and parameter.requires_grad and parameter.is_leaf
        results.append(parameter.detach().numpy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (4, 2, 3), (5, 5)], ids=str)
def test_orthogonal_rows_or_columns(shape: tuple, oracle: Any) -> None:
    values = []
    for library in (multitorch, oracle):
        library.manual_seed(1)
        values.append(library.nn.init.orthogonal_(library.empty(shape), gain=2.0).numpy())
    flat = values[0].reshape(shape[0], -1)
    product = flat @ flat.T if flat.shape[0] < flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(product, 4.0 * np.eye(len(product)), atol=1e-5)
    np.testing.assert_allclose(*values, atol=1e-5)


def test_trunc_normal_stays_inside() -> None:
    x = nn.init.trunc_normal_(multitorch.empty(1000), 0.0, 1.0, -0.5, 1.0)
    assert x.min().item() >= -0.5 and x.max().item() <= 1.0
    with pytest.warns(UserWarning, match="more than 2 std"):
        nn.init.trunc_normal_(multitorch.empty(3), 100.0)


def test_sparse_zeroes_the_fraction_of_each_column() -> None:
    x = nn.init.sparse_(multitorch.empty(10, 4), 0.25)
    assert (x == 0).sum(0).tolist() == [3, 3, 3, 3]


def test_a_generator_of_ones_own(oracle: Any) -> None:
    values = []
    for library in (multitorch, oracle):
        generator = library.Generator().manual_seed(9)
        values.append(library.nn.init.normal_(library.empty(4), generator=generator).numpy())
    np.testing.assert_allclose(*values, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "param"),
    [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None), ("relu", None),
     ("selu", None), ("leaky_relu", None), ("leaky_relu", 0.3)],
)  # fmt: skip
def test_gains(name: str, param: float | None, oracle: Any) -> None:
    assert nn.init.calculate_gain(name, param) == oracle.nn.init.calculate_gain(name, param)


ERRORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: nn.init.calculate_gain("foo"), "Unsupported nonlinearity foo"),
    (lambda: nn.init.calculate_gain("leaky_relu", "a"), "negative_slope a not a valid number"),  # type: ignore[arg-type]
    (lambda: nn.init.eye_(multitorch.empty(3)), "Only tensors with 2 dimensions"),
    (lambda: nn.init.dirac_(multitorch.empty(3, 3)), "Only tensors with 3, 4, or 5 dimensions"),
    (lambda: nn.init.dirac_(multitorch.empty(3, 3, 3), 2), "dim 0 must be divisible by groups"),
    (lambda: nn.init.xavier_normal_(multitorch.empty(3)), "fewer than 2 dimensions"),
    (lambda: nn.init.kaiming_normal_(multitorch.empty(3, 3), mode="x"), "Mode x not supported"),
    (lambda: nn.init.orthogonal_(multitorch.empty(3)), "Only tensors with 2 or more dimensions"),
    (lambda: nn.init.sparse_(multitorch.empty(3), 0.1), "Only tensors with 2 dimensions"),
]


@pytest.mark.parametrize(("call", "text"), ERRORS, ids=[e[1] for e in ERRORS])
def test_wrong_arguments(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


def test_empty_tensors_only_warn() -> None:
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        assert nn.init.kaiming_uniform_(multitorch.empty(0, 3)).shape == (0, 3)


def test_layers_are_initialized_in_pytorchs_order(oracle: Any) -> None:
    def net(library: Any) -> Any:
        library.manual_seed(0)
        return library.nn.Sequential(
            library.nn.Conv2d(3, 4, 3),
            library.nn.BatchNorm2d(4),
            library.nn.Linear(4, 5),
            library.nn.Embedding(6, 3, padding_idx=1),
            library.nn.Bilinear(2, 3, 4),
            library.nn.ConvTranspose1d(2, 4, 3),
        )

    for (name, mine), theirs in zip(
        net(multitorch).state_dict().items(), net(oracle).state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
