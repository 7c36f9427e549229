"""`compile(dynamic=…)`: padded programs give what the eager run gives, and serve many sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import multitorch as mt
import multitorch.nn.functional as F
from multitorch import nn

pytest.importorskip("jax", reason="compile needs JAX")

SIZES = (16, 9, 2)


@pytest.fixture
def dev(device):
    if device == "mini":
        pytest.skip("the minimal backend compiles nothing")
    return device


@pytest.fixture
def one(devices):
    """One device: rules for kernels are the same on all."""
    return next(d for d in devices if d != "mini")


def rows(n, dev, width=4):
    """Positive numbers, of which zeros make infinities and NaN under `log` and `1 / x`."""
    mt.manual_seed(n)
    return (mt.rand(n, width) + 0.5).to(dev)


def close(found, expected):
    mt.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


def causes():
    return [c.cause for c in mt.compiler.report()]


@pytest.fixture(autouse=True)
def fresh_report():
    mt.compiler.reset()


# --- kernels --------------------------------------------------------------------------------------


def kind_of(x):
    return (x[:, 0] > 1).long()


def weights(x):
    return mt.linspace(-1, 1, 12).reshape(4, 3).to(x.device)


SOUND = {
    "pointwise": lambda x: [
        x.log(), 1 / x, x.clamp(0.6, 0.9), mt.where(x > 0.9, x, -x), F.gelu(x), F.softplus(x),
        x.to(mt.float64), (x > 1) & (x < 2), mt.lerp(x, x * 2, 0.3), x.masked_fill(x > 1, 0.0),
    ],
    "sums": lambda x: [
        x.log().sum(0), (1 / x).mean(), x.log().mean(0), x.log().prod(0), (1 / x).var(0),
        x.log().std(), x.log().norm(dim=0), (x > 0).all(0), (x > 9).any(0), (x.log() > 9).any(),
        (x * 10).long().sum(0), x.half().mean(0), x.log().mean((0, 1), keepdim=True),
    ],
    "extremes": lambda x: [
        x.log().amax(0), (-1 / x).amin(0), *(1 / x).max(0), *x.log().min(0), (1 / x).argmax(0),
        (1 / x).argmax(), x.log().argmin(), x.log().max(), x.min(), (-x).amax(0),
        (x * 100).int().amax(0), (-x).log().isnan().any(),
    ],
    "rows": lambda x: [
        x.softmax(1), x.log_softmax(1), x.logsumexp(1), *x.topk(2, 1), *x.sort(1), x.cumsum(1),
        *x.median(1), x.flip(1), F.layer_norm(x, (4,)), F.pad(x, (1, 2)), F.normalize(x),
    ],
    "columns": lambda x: [
        x.log().softmax(0), (1 / x).log_softmax(0), x.log().logsumexp(0), x.log().cumsum(0),
        x.log().cumprod(0), *x.log().cummax(0), x.log().flip(0, 1), x.flip(0).cumsum(0).flip(0), (x - x.log().mean(0)) / x.std(0),
        F.batch_norm(x, None, None, training=True),
    ],
    "products": lambda x: [
        x @ weights(x), x.T @ x.log(), (1 / x).T @ x, (x.log() @ x.T).softmax(-1) @ x,
        mt.einsum("ni,nj->ij", x.log(), x), mt.dot(x[:, 0].log(), 1 / x[:, 1]),
        mt.outer(x[:, 0], x[:, 1]), mt.addmm(x @ weights(x), x, weights(x), beta=0.5, alpha=2),
    ],
    "shapes": lambda x: [
        x.flatten(), x.T, x[None].expand(3, -1, -1), mt.cat([x, x.log()], 1), mt.stack([x, x]),
        x.reshape(-1, 2, 2).permute(2, 0, 1).reshape(2, -1).log().sum(1), x.repeat(1, 2),
        x.view(-1, 2).log().sum(0), x.T.reshape(-1).log().max(), *x.chunk(2, 1), x.tril(),
    ],
    "pieces": lambda x: [
        x[-1], x[0], x[1], x.log()[-1], x[:, 1:], x[:, ::2], x.select(1, 2), x.unbind(1)[1],
    ],
    "made": lambda x: [
        x + mt.arange(x.shape[0], device=x.device)[:, None], mt.zeros_like(x) + x,
        mt.ones(x.shape[0], 2, device=x.device) * x[:, :2],
        mt.eye(x.shape[0], device=x.device) * (x @ x.T),
    ],
    "indices": lambda x: [
        x.gather(1, (x > 1).long()), x[x.argsort(1)[:, 0] % 2], weights(x)[kind_of(x)],
        mt.zeros(4, 4, device=x.device).index_add(0, kind_of(x), x.log()),
        mt.zeros(3, device=x.device).scatter_add(0, kind_of(x), x[:, 1].log()),
        F.embedding((x > 1).long(), weights(x)),
        x.gather(0, (x > 1).long()), mt.take_along_dim(x, x.argsort(1), 1),
    ],
    "losses": lambda x: [
        F.mse_loss(x.log(), 1 / x), F.l1_loss(x.log(), x), F.cross_entropy(x.log(), kind_of(x)),
        F.cross_entropy(x.log(), kind_of(x), label_smoothing=0.1),
        F.nll_loss(x.log(), kind_of(x), weight=weights(x).flatten()[:4] + 2),
        F.binary_cross_entropy_with_logits(x.log(), x), F.huber_loss(x.log(), x),
        F.kl_div(x.log(), x, reduction="batchmean"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_padding_never_shows(name, one):
    run = SOUND[name]
    compiled = mt.compile(run, dynamic=True)
    for n in SIZES:
        x = rows(n, one)
        close(compiled(x), run(x))
    # 2 is less than a quarter of the first bucket, and has one of its own
    assert compiled.compiles == 2, causes()


def test_all_but_the_first_or_the_last_row(one):
    def run(x):
        y = x.log()
        return y[1:].sum(0), y[:-1].mean(), (x[1:] - x[:-1]).abs().amax(0), x.diff(dim=0)

    compiled = mt.compile(run, dynamic=True)
    for n in (16, 9, 13):
        close(compiled(rows(n, one)), run(rows(n, one)))
    assert compiled.compiles == 1, causes()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_pointwise_kernels_are_pointwise():
    """Element by element they give what they give for all: the rule's one assumption."""
    from multitorch.backend import registry
    from multitorch.graph.buckets_rules import POINTWISE
    from multitorch.ops.op import REGISTRY

    F, ops = registry.backend("cpu"), {op.kernel: op for op in REGISTRY.values()}
    checked = 0
    for name in POINTWISE.split():
        count = len(ops[name].args) if name in ops else 2
        for dtype in (np.float32, np.int32, np.bool_, np.complex64):
            most = 3 if np.issubdtype(dtype, np.integer) else 1
            xs = [(np.random.rand(6) * most).astype(dtype) for _ in range(count)]
            params = {"polygamma": {"n": 1}, "round_decimals": {"decimals": 1}}.get(name, {})
            if name in ("gelu", "gelu_backward"):
                params = {"approximate": "none"}
            if name == "where":
                xs[0] = xs[0] != 0
            try:
                whole = getattr(F, name)(*xs, **params)
                parts = [getattr(F, name)(*[x[i : i + 1] for x in xs], **params) for i in range(6)]
            except (TypeError, ValueError, np.exceptions.DTypePromotionError):
                continue  # not for this dtype
            np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-6)
            checked += 1
            break
    assert checked == len(POINTWISE.split())


REFUSED = {
    "sort": lambda x: x.sort(0)[0],
    "roll": lambda x: x.roll(1, 0),
    "cat": lambda x: mt.cat([x, x.log()]),
    "reshape": lambda x: x.reshape(2, -1).sum(1),
    "logcumsumexp": lambda x: x.logcumsumexp(0),
    "median": lambda x: x.median(0)[0],
    "convolution": lambda x: F.conv1d(x.T[None], mt.ones(1, 4, 3, device=x.device)),
    "det": lambda x: mt.linalg.det(x[:, :1] * mt.eye(x.shape[0], device=x.device)),
    "add": lambda x: x + mt.linspace(0, 1, x.shape[0], device=x.device)[:, None],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_mixes_rows_is_compiled_for_each_size_and_the_report_says_why(name, one):
    run = REFUSED[name]
    compiled = mt.compile(run, dynamic=True)
    for n in (8, 6):
        close(compiled(rows(n, one)), run(rows(n, one)))
    assert compiled.compiles == 2
    assert all("dynamic: compiled for these sizes alone: " in c for c in causes())
    assert "test_dynamic.py:" in causes()[0]


def test_literal_pieces_and_sizes_zero_and_one(one):
    compiled = mt.compile(lambda x: (x[:3].sum(0), x.log().sum()), dynamic=True)
    for n in (16, 12, 5, 1, 0):
        x = rows(n, one)
        close(compiled(x), (x[:3].sum(0), x.log().sum()))


# --- gradients and training -----------------------------------------------------------------------


def test_gradients(one):
    def run(x, w):
        out = [
            (x @ w).log_softmax(0).sum(), (x.log() @ w).logsumexp(0).sum(), (x @ w).var(0).sum(),
            ((x.T @ x) @ w).norm(), (x @ w).amax(0).sum(), (x @ w)[1:].tanh().mean(),
            (x[-1] @ w).sum(), (x @ w).cumsum(0)[-1].sum(), ((x @ w).softmax(-1) * x[:, :3]).sum(),
        ]  # fmt: skip
        mt.stack(out).sum().backward()
        gradients = x.grad, w.grad
        x.grad = w.grad = None
        return gradients

    compiled = mt.compile(run, dynamic={"x": 0})
    for n in (16, 9, 13):
        x, w = rows(n, one).requires_grad_(), weights(rows(2, one)).requires_grad_()
        close(compiled(x, w), run(x, w))
    assert compiled.compiles == 1, causes()


def trained(model, loss_of, optimizer, batches, dev, dynamic):
    """Losses, parameters and buffers after training; the compiled step, if it is."""
    mt.manual_seed(0)
    model = model().to(dev)
    opt = optimizer(model.parameters())

    def step(x, y):
        opt.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        opt.step()
        return loss.detach()

    run = mt.compile(step, dynamic=dynamic) if dynamic else step
    mt.manual_seed(1)
    losses = [run(x.to(dev), y.to(dev)) for x, y in batches]
    return [*losses, *model.parameters(), *model.buffers()], run


def images(count):
    mt.manual_seed(count)
    return mt.randn(count, 1, 6, 6), mt.randint(0, 3, (count,))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.AvgPool2d(1), nn.Flatten(), nn.Linear(36, 8), nn.LayerNorm(8), nn.GELU(),
        nn.Dropout(0.3), nn.Linear(8, 3),
    )  # fmt: skip


def test_training_with_a_smaller_last_batch(one):
    batches = [images(n) for n in (12, 12, 12, 7, 12, 9)]
    args = convolutional, F.cross_entropy, lambda p: mt.optim.Adam(p, lr=0.01), batches, one
    expected, _ = trained(*args, dynamic=None)
    found, step = trained(*args, dynamic=True)
    close(found, expected)
    assert step.compiles <= 2, causes()  # one, and one for the step that makes Adam's state


class Language(nn.Module):
    """A small causal transformer with embedded positions."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(7, 8), nn.Embedding(32, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
        self.out = nn.Linear(8, 7)

    def forward(self, ids):
        length = ids.shape[1]
        x = self.words(ids) + self.places(mt.arange(length, device=ids.device))
        mask = mt.ones(length, length, dtype=mt.bool, device=ids.device).triu(1)
        return self.out(self.layer(x, src_mask=mask))


def next_word(scores, ids):
    return F.cross_entropy(scores[:, :-1].reshape(-1, 7), ids[:, 1:].reshape(-1))


def test_a_causal_transformer_over_lengths(one):
    def sentences(*shape):
        mt.manual_seed(sum(shape))
        ids = mt.randint(0, 7, shape)
        return ids, ids.clone()

    batches = [sentences(*s) for s in [(4, 12), (4, 7), (3, 9), (4, 8), (2, 12)]]
    args = Language, next_word, lambda p: mt.optim.SGD(p, lr=0.1), batches, one
    expected, _ = trained(*args, dynamic=None)
    found, step = trained(*args, dynamic={"x": (0, 1)})
    close(found, expected)
    assert step.compiles == 1, causes()


def test_a_recurrent_layer_over_batches_and_lengths(one):
    net = nn.LSTM(3, 4, batch_first=True, bidirectional=True).to(one)

    def run(x):
        out, _ = net(x.log())
        out.tanh().mean().backward()
        gradients = [p.grad for p in net.parameters()]
        net.zero_grad()
        return out.detach(), gradients

    compiled = mt.compile(run, dynamic={"x": (0, 1)})
    for n, length in ((4, 9), (3, 5)):
        x = rows(n * length, one, 3).reshape(n, length, 3)
        close(compiled(x), run(x))
    assert compiled.compiles == 1, causes()


# --- which dimensions, which buckets --------------------------------------------------------------


def test_a_dimension_that_changes_is_padded_from_then_on(one):
    compiled = mt.compile(lambda x: (x.log().sum(1), x.mean()), dynamic=True)
    for width in (12, 7, 9, 12, 10):
        x = rows(4, one, width)
        close(compiled(x), (x.log().sum(1), x.mean()))
    assert compiled.compiles == 2  # for 12, and for up to 12
    assert "shape (4, 12) → (4, 12)" not in causes()[1]


def test_buckets_are_the_first_size_and_powers_of_two(one):
    compiled = mt.compile(lambda x: x.log().sum(0), dynamic=True)
    for n, programs in ((20, 1), (5, 1), (4, 2), (8, 2), (21, 3), (32, 3), (33, 4), (64, 4)):
        close(compiled(rows(n, one)), rows(n, one).log().sum(0))
        assert compiled.compiles == programs


def test_named_dimensions(dev):
    compiled = mt.compile(lambda x, w: x.log() @ w, dynamic={"w": -1})
    for n in (6, 5):
        w = rows(4, dev, n)
        close(compiled(rows(3, dev), w), rows(3, dev).log() @ w)
    assert compiled.compiles == 1
    for bad, error in (({"z": 0}, ValueError), ({"x": 2}, IndexError)):
        with pytest.raises(error, match="dynamic"):
            mt.compile(lambda x: x + 1, dynamic=bad)(rows(3, dev))
    for bad in (3, {"x": "0"}, {0: 1}):
        with pytest.raises(TypeError, match="dynamic"):
            mt.compile(lambda x: x, dynamic=bad)


def test_two_sizes_that_meet_by_chance(one):
    def run(x, y):
        return x.log().sum(0), y.log().sum(0), x @ y.T

    compiled = mt.compile(run, dynamic={"x": 0, "y": 0})
    for n, m in ((8, 8), (6, 6), (6, 8), (5, 7)):
        close(compiled(rows(n, one), rows(m, one)), run(rows(n, one), rows(m, one)))
    assert compiled.compiles == 2  # one size or two


def test_a_size_that_is_that_of_a_weight_too(one):
    layer = nn.Linear(4, 4).to(one)
    compiled = mt.compile(lambda x: (layer(x).log_softmax(0), layer(x) + layer.bias), dynamic=True)
    for n in (8, 4, 6):
        x = rows(n, one)
        close(compiled(x), (layer(x).log_softmax(0), layer(x) + layer.bias))
    assert compiled.compiles == 1


def test_an_array_of_that_size_that_meets_no_other(one):
    def run(x):
        return x.log().sum() + mt.full((x.shape[0],), 2.0, device=x.device).sum()

    compiled = mt.compile(run, dynamic=True)
    for n in (16, 9, 13, 16):
        close(compiled(rows(n, one)), run(rows(n, one)))
    assert compiled.compiles == 2  # the second size tells that it is no chance


# --- with the rest of compile ---------------------------------------------------------------------


def test_calls_are_skipped_and_numbers_stay_inputs(dev):
    layer = nn.Linear(4, 3).to(dev)

    @mt.no_grad()
    def run(x, k):
        return (layer(x) * k).sum(0)

    compiled = mt.compile(run, dynamic=True)
    for k in (1.0, 2.5, 3.0, 3.0, 3.0, 3.0):
        for n in (8, 5):
            close(compiled(rows(n, dev), k), run(rows(n, dev), k))
    assert compiled.compiles == 1
    assert compiled.skipped > 1, compiled.why_recorded


def test_behind_a_graph_break(dev):
    def run(x):
        y = x.log()
        if y.isnan().any().item():
            return y
        return (y * x).mean(0)

    compiled = mt.compile(run, dynamic=True)
    with pytest.warns(UserWarning, match="graph break"):
        for n in (8, 5, 7):
            close(compiled(rows(n, dev)), run(rows(n, dev)))
    assert compiled.compiles == 2


def test_backward_outside_and_writes_to_arguments(dev):
    w = weights(rows(2, dev)).requires_grad_()

    @mt.compile(dynamic=True)
    def run(x):
        x.mul_(2)
        return (x @ w).log_softmax(0)

    for n in (8, 5, 7):
        x, y = rows(n, dev), rows(n, dev)
        run(x).sin().sum().backward()
        found, w.grad = w.grad, None
        (y.mul_(2) @ w).log_softmax(0).sin().sum().backward()
        close((x, found), (y, w.grad))
        w.grad = None
    assert run.compiles == 1


def test_random_numbers_of_the_real_rows_are_those_of_the_eager_run(dev):
    def run(x):
        return F.dropout(x, 0.5), x + mt.randn(x.shape[0], 4, device=x.device)

    compiled = mt.compile(run, dynamic=True)
    for n in (16, 9):
        x = rows(n, dev)
        mt.manual_seed(3)
        expected = run(x)
        mt.manual_seed(3)
        close(compiled(x), expected)
    assert compiled.compiles == 1


# --- random programs ------------------------------------------------------------------------------

STEPS = {
    "log": lambda x: x.abs().log(),
    "inverse": lambda x: 1 / x,
    "center": lambda x: x - x.mean(0),
    "softmax": lambda x: x.softmax(0),
    "rowmax": lambda x: x / x.abs().amax(1, keepdim=True),
    "gram": lambda x: (x @ x.T).tanh() @ x,
    "other": lambda x: x @ (x.T @ x).tanh(),
    "turn": lambda x: x.T.reshape(-1).reshape(4, -1).T.tanh(),
    "best": lambda x: x + x[x.argmax(0)].mean(0),
    "running": lambda x: x.cumsum(0).sin(),
    "late": lambda x: x + x[-1],
    "shifted": lambda x: x - x[1:].sum(0),
    "pairs": lambda x: x.reshape(-1, 2).softmax(1).reshape(-1, 4),
    "norm": lambda x: F.layer_norm(x, (4,)) + F.batch_norm(x, None, None, training=True),
    "places": lambda x: x + mt.arange(x.shape[0], device=x.device)[:, None],
}


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4))
def test_random_programs(names):
    def run(x):
        for name in names:
            x = STEPS[name](x)
        return x, x.sum(), x.amax(0)

    compiled = mt.compile(run, dynamic=True)
    for n in (8, 6, 7):
        x = rows(n, "cpu").double()
        close(compiled(x), run(x))
    assert compiled.compiles == 1, causes()
