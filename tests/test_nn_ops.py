"""Convolution, pooling, normalization, activations and losses, against PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import multitorch
from tests.against_torch import compare

pytestmark = pytest.mark.oracle
RNG = np.random.default_rng(2)


def real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def unit(*shape: int) -> np.ndarray:
    return RNG.uniform(0.1, 0.9, shape)


def check(oracle: Any, device: str, name: str, *arrays: Any, **options: Any) -> None:
    """Compare one function of torch.nn.functional."""
    settings = {k: options.pop(k) for k in ("order", "tol") if k in options}

    def call(lib: Any, *tensors: Any) -> Any:
        given = {
            k: lib.tensor(v, device=tensors[0].device) if isinstance(v, np.ndarray) else v
            for k, v in options.items()
        }
        return getattr(lib.nn.functional, name)(*tensors, **given)

    compare(oracle, device, call, *arrays, **settings)


# --- convolution ---------------------------------------------------------------------------------

CONVOLUTIONS = [
    {}, {"padding": 1}, {"stride": 2}, {"padding": (2, 1), "stride": (1, 2)},
    {"groups": 2, "dilation": 2}, {"groups": 4, "padding": 2},
]  # fmt: skip


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_conv2d(oracle, device, options):
    w = real(8, 4 // options.get("groups", 1), 3, 3)
    check(oracle, device, "conv2d", real(2, 4, 7, 6), w, real(8), **options)


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_conv_transpose2d(oracle, device, options):
    w = real(4, 8 // options.get("groups", 1), 3, 3)
    check(oracle, device, "conv_transpose2d", real(2, 4, 5, 4), w, real(8), **options)


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_output_padding_longer_than_the_stride(oracle, device, padding):
    check(oracle, device, "conv_transpose1d", real(2, 2, 4), real(2, 2, 3), real(2), stride=2,
          padding=padding, output_padding=3, dilation=4)  # fmt: skip


@pytest.mark.parametrize("kernel, dilation", [((3, 3), 1), ((4, 2), 2), ((1, 1), 1)])
def test_same_padding(oracle, device, kernel, dilation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of the copy that an even kernel costs it
        check(oracle, device, "conv2d", real(2, 1, 9, 8), real(3, 1, *kernel), padding="same",
              dilation=dilation)  # fmt: skip


def test_cosine_similarity_broadcasts_before_it_takes_norms(oracle, device):
    check(oracle, device, "cosine_similarity", real(1, 2, 3), real(2, 1, 3), dim=-2)


def test_means_of_integers_round_towards_zero(oracle, device):
    x = np.arange(-8, 8).reshape(1, 1, 4, 4)
    ours = multitorch.nn.functional.avg_pool2d(
        multitorch.tensor(x, device=device), 2, divisor_override=-3
    )
    theirs = oracle.nn.functional.avg_pool2d(oracle.tensor(x), 2, divisor_override=-3)
    assert ours.tolist() == theirs.tolist()


def test_other_ranks(oracle, device):
    check(oracle, device, "conv1d", real(4, 7), real(6, 4, 3), padding=2)
    check(oracle, device, "conv3d", real(1, 2, 4, 5, 4), real(2, 2, 3, 3, 2), padding=1,
          stride=(1, 2, 1))  # fmt: skip
    check(oracle, device, "conv_transpose1d", real(2, 4, 7), real(4, 3, 3), stride=3)
    check(oracle, device, "conv_transpose3d", real(1, 2, 3, 3, 2), real(2, 2, 3, 3, 2), padding=1,
          stride=2, output_padding=1)  # fmt: skip


@pytest.mark.parametrize("positions", [5, 70, 1000])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": 3, "dilation": 2}], ids=str)
def test_convolution_in_blocks(oracle, monkeypatch, positions, options):
    from multitorch_numpy import conv

    monkeypatch.setattr(conv, "_BLOCK", 0)
    monkeypatch.setattr(conv, "_FEWEST", positions)
    x, w, b = real(3, 4, 9, 8), real(8, 4, 3, 3), real(8)
    check(oracle, "cpu", "conv2d", x, w, b, padding=1, **options)
    check(oracle, "cpu", "conv2d", x, w[:, :2], b, padding=2, groups=2, **options)
    check(oracle, "cpu", "conv_transpose2d", x, real(4, 5, 3, 3), padding=1, **options)


@pytest.mark.parametrize(
    "options",
    [{"kernel_size": 2}, {"kernel_size": (3, 2), "padding": 1, "stride": 2},
     {"kernel_size": 2, "dilation": 2}], ids=str,
)  # fmt: skip
def test_unfold_and_fold(oracle, device, options):
    check(oracle, device, "unfold", real(2, 3, 6, 5), **options)
    columns = oracle.nn.functional.unfold(oracle.ones(2, 3, 6, 5), **options).shape
    check(oracle, device, "fold", real(*columns), output_size=(6, 5), **options)


# --- pooling -------------------------------------------------------------------------------------

WINDOWS = [
    {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 2), "stride": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
]  # fmt: skip


@pytest.mark.parametrize("options", [*WINDOWS, {"kernel_size": 2, "dilation": 2}], ids=str)
def test_max_pool2d(oracle, device, options):
    check(oracle, device, "max_pool2d", real(2, 3, 7, 8), **options)
    check(oracle, device, "max_pool2d", real(2, 3, 7, 8), return_indices=True, **options)


@pytest.mark.parametrize("stride", [1, 2])
def test_first_of_equal_maxima_gets_the_gradient(oracle, device, stride):
    x = RNG.integers(0, 2, (2, 3, 6, 6)).astype(float)
    check(oracle, device, "max_pool2d", x, kernel_size=2, stride=stride, order=1)


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_gradient_of_maxima_that_are_no_numbers(oracle, options, value):
    x = real(2, 3, 7, 8)
    x[RNG.random(x.shape) < 0.4] = value
    check(oracle, "cpu", "max_pool2d", x, order=1, **options)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_avg_pool2d(oracle, device, options, include):
    check(oracle, device, "avg_pool2d", real(2, 3, 7, 8), count_include_pad=include, **options)


def test_other_pools(oracle, device):
    check(oracle, device, "avg_pool2d", real(2, 3, 7, 8), kernel_size=2, divisor_override=3)
    for name in ("max_pool1d", "avg_pool1d"):
        check(oracle, device, name, real(2, 3, 7), kernel_size=3, stride=2)
    for name in ("max_pool3d", "avg_pool3d"):
        check(oracle, device, name, real(2, 3, 6, 5, 4), kernel_size=2)


@pytest.mark.parametrize("size", [1, 3, 5, (2, None)])
def test_adaptive_pools(oracle, device, size):
    check(oracle, device, "adaptive_avg_pool2d", real(2, 3, 6, 7), output_size=size)
    check(oracle, device, "adaptive_max_pool2d", real(2, 3, 6, 7), output_size=size,
          return_indices=True)  # fmt: skip


def test_adaptive_pools_of_one_dimension(oracle, device):
    check(oracle, device, "adaptive_avg_pool1d", real(2, 3, 7), output_size=4)
    check(oracle, device, "adaptive_max_pool1d", real(2, 3, 7), output_size=4)


# --- normalization -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2), (2, 3, 4, 4)])
def test_batch_norm(oracle, device, shape):
    def train(lib: Any, x: Any, w: Any, b: Any) -> Any:
        mean, var = (t(3, dtype=lib.float64, device=x.device) for t in (lib.zeros, lib.ones))
        y = lib.nn.functional.batch_norm(x, mean, var, w, b, training=True, momentum=0.3)
        return y, mean, var

    compare(oracle, device, train, real(*shape), real(3), real(3))
    check(oracle, device, "batch_norm", real(*shape), running_mean=None, running_var=None,
          training=True)  # fmt: skip
    check(oracle, device, "batch_norm", real(*shape), running_mean=real(3), running_var=unit(3))


def test_other_norms(oracle, device):
    check(oracle, device, "group_norm", real(2, 6, 3), 3, real(6), real(6))
    check(oracle, device, "group_norm", real(2, 6, 3, 2), 2)
    check(oracle, device, "layer_norm", real(2, 3, 4), (3, 4), real(3, 4), real(3, 4))
    check(oracle, device, "layer_norm", real(2, 3, 4), (4,))
    check(oracle, device, "rms_norm", real(2, 3, 4), (4,), real(4))
    check(oracle, device, "instance_norm", real(2, 3, 4, 4))


def test_third_derivative_of_batch_norm_is_exact():
    """Statistics are no constants, at any order (PyTorch's own third derivative takes them so)."""
    x, weights, step = real(4, 2), [real(4, 2) for _ in range(3)], 1e-6

    def scalar(a: np.ndarray, order: int) -> Any:
        leaf = multitorch.tensor(a, requires_grad=True)
        y = multitorch.nn.functional.batch_norm(leaf, None, None, training=True)
        for w in weights[:order]:
            total = (y * multitorch.tensor(w)).sum()
            (y,) = multitorch.autograd.grad(total, leaf, create_graph=True)
        return y

    exact = (scalar(x, 3) * multitorch.tensor(weights[0])).sum().item()
    ahead, behind = (
        (scalar(x + s * weights[0], 2) * multitorch.tensor(weights[2])).sum().item()
        for s in (step, -step)
    )
    assert exact == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


# --- activations ---------------------------------------------------------------------------------

POINTS = np.array([0.0, 0.5, -0.5, 1, -1, 2, -2.5, 3, -3, 6, 30, -30, 100, -800, 0.3, -0.7, 1.7])
ACTIVATIONS: dict[str, tuple] = {
    "relu": (), "relu6": (), "leaky_relu": (0.1,), "elu": (1.3,), "selu": (), "celu": (1.7,),
    "gelu": (), "silu": (), "mish": (), "softplus": (2.0, 5.0), "softsign": (), "tanhshrink": (),
    "hardtanh": (-1.0, 2.0), "hardswish": (), "hardsigmoid": (), "hardshrink": (),
    "softshrink": (), "threshold": (0.1, 20.0), "logsigmoid": (), "sigmoid": (), "tanh": (),
}  # fmt: skip
ONCE = {"hardsigmoid"}  # PyTorch has no second derivative


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(oracle, device, name):
    # PyTorch has the constants of these two derivatives in float32
    tol = 1e-7 if name in ("celu", "hardsigmoid") else 1e-9
    check(oracle, device, name, POINTS, *ACTIVATIONS[name], order=1 if name in ONCE else 2, tol=tol)


@pytest.mark.parametrize("dtype, tol", [("float32", 1e-5), ("float16", 4e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_keep_dtypes(oracle, device, name, dtype, tol):
    results = []
    for lib, where in ((multitorch, device), (oracle, "cpu")):
        x = lib.tensor(POINTS, dtype=getattr(lib, dtype), device=where, requires_grad=True)
        y = getattr(lib.nn.functional, name)(x, *ACTIVATIONS[name])
        y.sum().backward()
        assert str(y.dtype) == str(x.grad.dtype) == f"torch.{dtype}"
        results.append([t.detach().cpu().float().numpy() for t in (y, x.grad)])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tol, atol=tol)


def test_activations_of_two_inputs(oracle, device):
    check(oracle, device, "gelu", POINTS, approximate="tanh")
    check(oracle, device, "glu", real(3, 4, 2), dim=1)
    check(oracle, device, "prelu", real(3, 4, 2), real(4))
    check(oracle, device, "prelu", real(3, 4, 2), real(1))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize("shape, dim", [((3, 4), 0), ((3, 4), -1), ((), 0), ((2, 3, 4), 1)])
def test_softmax(oracle, device, name, shape, dim):
    check(oracle, device, name, np.asarray(real(*shape)), dim=dim)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": 0.3}], ids=str)
def test_attention(oracle, device, options):
    arrays = real(2, 3, 5, 4), real(2, 3, 5, 4), real(2, 3, 5, 6)
    check(oracle, device, "scaled_dot_product_attention", *arrays, **options)


def test_attention_with_masks(oracle, device):
    arrays = real(2, 3, 5, 4), real(2, 3, 6, 4), real(2, 3, 6, 6)
    for mask in (np.tri(5, 6) > 0, real(5, 6)):
        check(oracle, device, "scaled_dot_product_attention", *arrays, attn_mask=mask)


# --- losses --------------------------------------------------------------------------------------

REDUCTIONS = ["mean", "sum", "none"]
LABELS = np.array([1, 0, 2, -100])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("weight", [None, np.array([0.5, 1.5, 2.0])], ids=["even", "weighted"])
def test_class_losses(oracle, device, name, weight, reduction):
    options = {"weight": weight, "reduction": reduction}
    check(oracle, device, name, real(4, 3), LABELS, **options)
    check(oracle, device, name, real(2, 3, 2, 2), LABELS.reshape(2, 1, 2).repeat(2, 1), **options)
    check(oracle, device, name, real(3), np.array(1), **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, np.array([0.5, 1.5, 2.0])], ids=["even", "weighted"])
def test_soft_labels(oracle, device, weight, reduction):
    options = {"weight": weight, "reduction": reduction}
    check(oracle, device, "cross_entropy", real(4, 3), LABELS, label_smoothing=0.1, **options)
    check(oracle, device, "cross_entropy", real(4, 3), unit(4, 3), **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_distances(oracle, device, name, reduction):
    check(oracle, device, name, real(3, 2), real(3, 2), reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_losses(oracle, device, reduction):
    check(oracle, device, "binary_cross_entropy", unit(3, 2), unit(3, 2), reduction=reduction)
    name = "binary_cross_entropy_with_logits"
    check(oracle, device, name, real(3, 2), unit(3, 2), reduction=reduction)
    check(oracle, device, name, real(3, 2), unit(3, 2), reduction=reduction,
          pos_weight=np.array([1.5, 0.3]), weight=unit(3, 2))  # fmt: skip


# --- errors and names ----------------------------------------------------------------------------


def F(lib: Any) -> Any:  # noqa: N802
    return lib.nn.functional


ERRORS: list[Callable] = [
    lambda t: F(t).conv2d(t.ones(1, 1, 3, 3), t.ones(4, 3, 3, 3)),
    lambda t: F(t).conv2d(t.ones(1, 3), t.ones(4, 3, 3, 3)),
    lambda t: F(t).conv2d(t.ones(1, 3, 2, 2), t.ones(4, 3, 3, 3)),
    lambda t: F(t).conv2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3), t.ones(3)),
    lambda t: F(t).conv2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3), t.ones(4).double()),
    lambda t: F(t).conv2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3), stride=0),
    lambda t: F(t).conv2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3), padding=-1),
    lambda t: F(t).conv2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3), stride=(1, 1, 1)),
    lambda t: F(t).conv2d(t.ones(1, 4, 4, 4), t.ones(3, 2, 3, 3), groups=2),
    lambda t: F(t).conv2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3), stride=2, padding="same"),
    lambda t: F(t).conv2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3), padding="foo"),
    lambda t: F(t).conv2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3), groups=0),
    lambda t: F(t).conv_transpose2d(t.ones(1, 3, 4, 4), t.ones(4, 3, 3, 3)),
    lambda t: F(t).max_pool2d(t.ones(3), 2),
    lambda t: F(t).max_pool2d(t.ones(1, 1, 2, 2), 3),
    lambda t: F(t).max_pool2d(t.ones(1, 1, 2, 2), 2, padding=2),
    lambda t: F(t).max_pool2d(t.ones(1, 1, 2, 2), 2, stride=0),
    lambda t: F(t).max_pool2d(t.ones(1, 1, 2, 2), (2, 2, 2)),
    lambda t: F(t).batch_norm(t.ones(1, 3), None, None, training=True),
    lambda t: F(t).batch_norm(t.ones(2, 3), t.zeros(2), t.ones(3), training=True),
    lambda t: F(t).batch_norm(t.ones(2, 3), None, None),
    lambda t: F(t).layer_norm(t.ones(2, 3), (2,)),
    lambda t: F(t).softmax(t.ones(3), 2),
    lambda t: F(t).relu(t.ones(3).bool()),
    lambda t: F(t).glu(t.ones(3), 0),
    lambda t: F(t).prelu(t.ones(1, 3), t.ones(2)),
    lambda t: F(t).gelu(t.ones(3), approximate="x"),
    lambda t: F(t).hardtanh(t.ones(3), 1, -1),
    lambda t: F(t).cross_entropy(t.ones(2, 3), t.tensor([0, 3])),
    lambda t: F(t).cross_entropy(t.ones(2, 3), t.tensor([0])),
    lambda t: F(t).cross_entropy(t.ones(2, 3), t.tensor([0.0, 1])),
    lambda t: F(t).cross_entropy(t.ones(2, 3), t.tensor([0, 1]).int()),
    lambda t: F(t).nll_loss(t.ones(2, 3), t.tensor([0, 1]), weight=t.ones(2)),
    lambda t: F(t).nll_loss(t.ones(2, 3, 4), t.ones(2, 3).long()),
    lambda t: F(t).nll_loss(t.ones(3), t.tensor([0, 1])),
    lambda t: F(t).binary_cross_entropy(t.tensor([0.5]), t.tensor([1])),
    lambda t: F(t).binary_cross_entropy(t.tensor([0.5]), t.tensor([1.0, 0])),
    lambda t: F(t).binary_cross_entropy(t.tensor([2.0]), t.tensor([1.0])),
    lambda t: F(t).binary_cross_entropy_with_logits(t.tensor([0.5]), t.tensor([1.0, 0])),
]


@pytest.mark.parametrize("call", ERRORS, ids=range(len(ERRORS)))
def test_errors_are_those_of_pytorch(oracle, call):
    with pytest.raises(Exception) as expected:
        call(oracle)
    with pytest.raises(type(expected.value)) as found:
        call(multitorch)
    assert str(expected.value).split("\n")[0] in str(found.value)


NODES: list[Callable] = [
    *[lambda t, x, n=n: getattr(F(t), n)(x, *ACTIVATIONS[n]) for n in ACTIVATIONS],
    lambda t, x: F(t).softmax(x, 1),
    lambda t, x: F(t).log_softmax(x, 1),
    lambda t, x: F(t).glu(x[:, :2], 1),
    lambda t, x: F(t).prelu(x, t.ones(1)),
    lambda t, x: F(t).conv2d(x.view(1, 1, 2, 3), t.ones(1, 1, 2, 2)),
    lambda t, x: F(t).max_pool2d(x.view(1, 2, 3), 2),
    lambda t, x: F(t).avg_pool2d(x.view(1, 2, 3), 2),
    lambda t, x: F(t).batch_norm(x, None, None, training=True),
    lambda t, x: F(t).layer_norm(x, (3,)),
    lambda t, x: F(t).cross_entropy(x, t.tensor([0, 1])),
    lambda t, x: F(t).nll_loss(x, t.tensor([0, 1])),
    lambda t, x: F(t).mse_loss(x, t.ones(2, 3)),
    lambda t, x: F(t).l1_loss(x, t.ones(2, 3)),
]


@pytest.mark.parametrize("call", NODES, ids=range(len(NODES)))
def test_grad_fn_names(oracle, call):
    names = [
        call(lib, lib.ones(2, 3, requires_grad=True)).grad_fn.name() for lib in (multitorch, oracle)
    ]
    assert names[0] == names[1]
