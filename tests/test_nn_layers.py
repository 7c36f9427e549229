"""Every layer of the table: against PyTorch, and by itself."""

from __future__ import annotations

import copy
import zlib
from typing import Any

import numpy as np
import pytest

import multitorch
from multitorch import nn
from tests.nn_cases import CASES, Case

pytestmark = pytest.mark.filterwarnings(
    "ignore:reduction. 'mean' divides", "ignore:.*even kernel lengths"
)
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}
# Random layers draw another stream on other devices.
FIRST_OF_EACH = list(
    {row.layer: row for row in reversed(CASES) if "random" not in row.options}.values()
)[::-1]
cases = pytest.mark.parametrize("row", CASES, ids=str)


def arrays(row: Case) -> list[np.ndarray]:
    rng = np.random.default_rng(zlib.crc32(str(row).encode()))
    return [make(rng) for make in row.inputs]


def build(library: Any, row: Case) -> Any:
    """Make the layer with the library's own random initial weights."""

    def tensor(value: Any) -> Any:
        return library.tensor(value) if isinstance(value, np.ndarray) else value

    library.manual_seed(3)
    kwargs = {name: tensor(value) for name, value in row.kwargs.items()}
    layer = getattr(library.nn, row.layer)(*[tensor(a) for a in row.args], **kwargs)
    return layer.eval() if "eval" in row.options else layer


def leaves(library: Any, row: Case, device: str = "cpu") -> list[Any]:
    tensors = [library.tensor(a, device=device) for a in arrays(row)]
    last = len(tensors) - 1
    for i, t in enumerate(tensors):
        if t.is_floating_point() and not ("fixed_last" in row.options and i == last):
            t.requires_grad_()
    return tensors


def call(library: Any, layer: Any, inputs: list[Any]) -> list[Any]:
    # Times one: in-place layers must not write to leaves.
    given = [t * 1 if t.requires_grad else t for t in inputs]
    library.manual_seed(5)
    out = layer(*given)
    return list(out) if isinstance(out, tuple) else [out]


def host(t: Any) -> np.ndarray | None:
    return None if t is None else t.detach().cpu().numpy()


def assert_close(mine: Any, theirs: Any, what: str) -> None:
    if theirs is None:
        assert mine is None, what
        return
    assert mine is not None, what
    a, b = host(mine), host(theirs)
    assert a is not None and b is not None
    assert a.shape == b.shape and a.dtype == b.dtype, what
    np.testing.assert_allclose(a, b, err_msg=what, **TOLERANCE)


@cases
def test_settings_and_initial_weights_are_those_of_pytorch(row: Case, oracle: Any) -> None:
    mine, theirs = build(multitorch, row), build(oracle, row)
    assert repr(mine) == repr(theirs)
    state, expected = mine.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    assert state._metadata == expected._metadata
    for name in expected:
        assert_close(state[name], expected[name], name)


def run(library: Any, row: Case, device: str = "cpu") -> tuple[Any, list, list]:
    """Return the layer, its outputs and the gradients of its inputs, after one backward pass."""
    layer = build(library, row).to(device)
    inputs = leaves(library, row, device)
    outs = call(library, layer, inputs)
    if outs[0].requires_grad:
        shape = tuple(outs[0].shape)
        seed = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        outs[0].backward(library.tensor(seed, device=device))
    return layer, outs, [x.grad for x in inputs]


def assert_same(mine: tuple[Any, list, list], theirs: tuple[Any, list, list]) -> None:
    for i, (out, wanted) in enumerate(zip(mine[1], theirs[1], strict=True)):
        assert_close(out, wanted, f"output {i}")
        assert out.requires_grad == wanted.requires_grad
    for i, (grad, wanted) in enumerate(zip(mine[2], theirs[2], strict=True)):
        assert_close(grad, wanted, f"gradient of input {i}")
    parameters = zip(mine[0].named_parameters(), theirs[0].parameters(), strict=True)
    for (name, parameter), wanted in parameters:
        assert_close(parameter.grad, wanted.grad, f"gradient of {name}")
    for (name, buffer), wanted in zip(mine[0].named_buffers(), theirs[0].buffers(), strict=True):
        assert_close(buffer, wanted, name)


@cases
def test_values_and_gradients_are_those_of_pytorch(row: Case, oracle: Any) -> None:
    assert_same(run(multitorch, row), run(oracle, row))


@pytest.mark.parametrize("row", FIRST_OF_EACH, ids=str)
def test_devices_agree(row: Case, device: str) -> None:
    if device == "cpu":
        pytest.skip("the others are compared with the cpu")
    assert_same(run(multitorch, row, device), run(multitorch, row))


@cases
def test_layer_copies_saves_and_differentiates(row: Case) -> None:
    layer = build(multitorch, row)
    twin = copy.deepcopy(layer)
    twin.load_state_dict(layer.state_dict())
    inputs = leaves(multitorch, row)
    out, again = call(multitorch, layer, inputs)[0], call(multitorch, twin, inputs)[0]
    assert repr(layer).startswith(row.layer + "(")
    assert_close(again, out, "the copy's output")
    assert np.isfinite(out.detach().numpy()).all()
    if out.requires_grad:
        out.sum().backward()
        for name, parameter in layer.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.shape == parameter.shape, name
        assert all(p.grad is None for p in twin.parameters())


def test_a_large_batch_keeps_dropouts_mean() -> None:
    x = multitorch.ones(200, 200)
    for layer in (nn.Dropout(0.3), nn.Dropout1d(0.3)):
        assert abs(layer(x).mean().item() - 1) < 0.1
    assert (nn.Dropout(0.5).eval()(x) == x).all()


def test_batch_norm_tracks_the_statistics_of_its_batches(device: str) -> None:
    norm = nn.BatchNorm1d(2, momentum=0.5).to(device)
    x = multitorch.tensor([[0.0, 2.0], [2.0, 6.0]], device=device)
    norm(x)
    assert norm.running_mean.tolist() == [0.5, 2.0]
    # half of 1 and half of the unbiased variance
    assert norm.running_var.tolist() == pytest.approx([1.5, 4.5])
    assert norm.num_batches_tracked.item() == 1
    norm.eval()
    norm(x)
    assert norm.num_batches_tracked.item() == 1
    norm.reset_running_stats()
    assert norm.running_var.tolist() == [1.0, 1.0]


def test_embedding_shortens_the_rows_it_uses(oracle: Any) -> None:
    table = np.array([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]], np.float32)
    for library in (multitorch, oracle):
        layer = library.nn.Embedding(3, 2, max_norm=1.0, _weight=library.tensor(table))
        out = layer(library.tensor([0, 1]))
        assert np.allclose(out.detach().numpy(), [[0.6, 0.8], [0.3, 0.4]], atol=1e-5)
        assert layer.weight[2].tolist() == [6.0, 8.0]


def test_embedding_from_pretrained_is_frozen_unless_asked() -> None:
    table = multitorch.arange(6.0).reshape(3, 2)
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad
    assert layer(multitorch.tensor([2])).tolist() == [[4.0, 5.0]]
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad
    padded = nn.Embedding(4, 2, padding_idx=-1)
    assert padded.padding_idx == 3 and padded.weight[3].tolist() == [0.0, 0.0]


def test_transposed_convolution_reaches_the_size_asked_for() -> None:
    layer = nn.ConvTranspose1d(1, 1, 3, stride=2)
    x = multitorch.ones(1, 1, 4)
    assert layer(x).shape == (1, 1, 9)
    assert layer(x, output_size=[10]).shape == (1, 1, 10)
    with pytest.raises(ValueError, match="requested an output size of"):
        layer(x, output_size=[20])


def test_sync_batch_norm_replaces_batch_norms() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU())
    weight = net[0].weight
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert isinstance(converted[0], nn.SyncBatchNorm) and converted[0].weight is weight


ERRORS = [
    ("Conv2d(3, 4, 3, groups=2)", ValueError, "in_channels must be divisible by groups"),
    ("Conv2d(4, 3, 3, groups=2)", ValueError, "out_channels must be divisible by groups"),
    ("Conv2d(3, 4, 3, padding='sam')", ValueError, "Invalid padding string 'sam'"),
    ("Conv2d(3, 4, 3, padding='same', stride=2)", ValueError, "not supported for strided"),
    ("Conv2d(3, 4, 3, padding_mode='x')", ValueError, "padding_mode must be one of"),
    ("ConvTranspose2d(3, 4, 3, padding_mode='reflect')", ValueError, 'Only "zeros" padding mode'),
    ("Dropout(2)", ValueError, "dropout probability has to be between 0 and 1, but got 2"),
    ("Embedding(3, 2, 7)", AssertionError, "Padding_idx must be within num_embeddings"),
    ("GroupNorm(3, 4)", ValueError, "num_channels .* must be divisible by num_groups"),
    ("BatchNorm1d(2)(T.ones(2, 2, 2, 2))", ValueError, "expected 2D or 3D input"),
    ("BatchNorm2d(2)(T.ones(2, 2))", ValueError, r"expected 4D input \(got 2D input\)"),
    ("Softmax2d()(T.ones(2))", ValueError, "expected input to be 3D or 4D, got 1D"),
    ("Hardtanh(2, 1)", AssertionError, r"max_val \(1\) must be greater than min_val \(2\)"),
    ("GLU()(T.ones(3))", RuntimeError, "Halving dimension must be even, but dimension 0 is size 3"),
    ("PReLU(3)(T.ones(2, 2))", RuntimeError, "Mismatch of parameter numbers and input channel"),
    ("Bilinear(2, 3, 1)(T.ones(1, 2), T.ones(1, 2))", RuntimeError, "input2 size does not match"),
    ("Unflatten(1, 3)", TypeError, "unflattened_size must be a tuple of ints"),
    ("PixelShuffle(2)(T.ones(1, 3, 2, 2))", RuntimeError, "divisible by the square"),
    ("MultiMarginLoss(3)", ValueError, "only p == 1 and p == 2 supported"),
    ("TripletMarginLoss(margin=-1)", ValueError, "expected margin to be greater than 0, got -1"),
    ("HuberLoss(delta=0)(T.ones(2), T.ones(2))", RuntimeError, "non-positive values for delta"),
    ("MSELoss(reduction='x')(T.ones(2), T.ones(2))", ValueError, "x is not a valid value for red"),
    ("functional.one_hot(T.tensor([0, 5]), 3)", RuntimeError, "smaller than num_classes"),
    ("functional.one_hot(T.tensor([1.0]))", RuntimeError, "index tensor of type LongTensor"),
]


@pytest.mark.parametrize(("expression", "kind", "text"), ERRORS, ids=[e[0] for e in ERRORS])
def test_wrong_settings_raise_pytorchs_error(
    expression: str, kind: type, text: str, oracle: Any
) -> None:
    for library in (multitorch, oracle):
        with pytest.raises(kind, match=text):
            eval("T.nn." + expression, {"T": library})


def test_losses_of_the_old_arguments_warn() -> None:
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert nn.L1Loss(size_average=False).reduction == "sum"
    with pytest.warns(UserWarning, match="reduction='none'"):
        assert nn.L1Loss(reduce=False).reduction == "none"


def test_functions_without_a_layer(oracle: Any) -> None:
    rows = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    for library in (multitorch, oracle):
        functional = library.nn.functional
        x = library.tensor(rows)
        assert functional.one_hot(library.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
        assert np.allclose(functional.normalize(x)[0].tolist(), [0.0, 1.0])
        assert np.allclose(functional.pdist(x).tolist(), [8**0.5, 32**0.5, 8**0.5])
        library.manual_seed(0)
        hard = functional.gumbel_softmax(x, hard=True)
        assert hard.sum(1).tolist() == [1.0, 1.0, 1.0]
        y = library.tensor([-1.0, 2.0])
        assert functional.relu_(y) is y and y.tolist() == [0.0, 2.0]
