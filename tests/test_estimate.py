"""`multitorch.tpu.estimate`: programs compiled for TPUs that are not there."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import multitorch as mt
from multitorch import cli

jax = pytest.importorskip("jax", reason="the TPU compiler is reached through JAX")

from multitorch_jax import guard, topology, work  # noqa: E402

needs_libtpu = pytest.mark.skipif(
    bool(topology.unavailable()), reason=topology.unavailable() or "there"
)
F = mt.nn.functional


class Training:
    """A small model with everything that a step changes."""

    def __init__(self, device="cpu", width=256):
        self.model = mt.nn.Sequential(
            mt.nn.Linear(width, 128), mt.nn.ReLU(), mt.nn.Dropout(0.5), mt.nn.Linear(128, 10)
        ).to(device)
        self.optimizer = mt.optim.Adam(self.model.parameters(), lr=1e-3)
        self.args = mt.zeros(64, width, device=device), mt.zeros(64, dtype=mt.int64, device=device)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss


@needs_libtpu
@pytest.mark.parametrize(
    ("where", "kind", "chips"),
    [("v5e:1x1", "TPU v5 lite", 1), ("v5p:2x2", "TPU v5", 4), ("v6e:2x4", "TPU v6 lite", 8)],
)
def test_a_training_step(where, kind, chips):
    training = Training()
    report = mt.tpu.estimate(training.step, training.args, where)
    assert (report.chip, report.chips, report.fits) == (kind, chips, True)
    weights = 4 * sum(p.numel() for p in training.model.parameters())
    # the weights with two moments each, and the images
    assert 3 * weights < report.argument_bytes < report.peak_bytes < 2**24
    assert report.flops > 4 * 64 * (256 * 128 + 128 * 10)  # forward, and weights backward
    assert 0 < report.seconds < 1e-3
    assert sum(c.share for c in report.costs) == pytest.approx(1)
    places = [p for cost in report.costs for p in cost.places]
    assert {Path(p.file).name for p in places} == {Path(__file__).name}
    assert any("self.model(x)" in p.source and p.backward for p in places)
    text = str(report)
    assert f"{where}: {kind}" in text and "fits" in text and "on the host: nothing" in text


@needs_libtpu
def test_nothing_is_changed():
    training = Training()
    before = [p.tolist() for p in training.model.parameters()]
    state = mt.get_rng_state()
    mt.tpu.estimate(training.step, training.args)
    assert [p.tolist() for p in training.model.parameters()] == before
    assert all(p.grad is None for p in training.model.parameters())
    assert not training.optimizer.state
    assert mt.equal(mt.get_rng_state(), state)
    training.step(*training.args)
    grads = [p.grad.tolist() for p in training.model.parameters()]
    moments = [s["exp_avg"].tolist() for s in training.optimizer.state.values()]
    mt.tpu.estimate(training.step, training.args)
    assert [p.grad.tolist() for p in training.model.parameters()] == grads
    assert [s["exp_avg"].tolist() for s in training.optimizer.state.values()] == moments


@needs_libtpu
def test_tensors_without_data_do_as_well():
    real, meta = Training(), Training("meta")
    a = mt.tpu.estimate(real.step, real.args)
    b = mt.tpu.estimate(meta.step, meta.args)
    assert (a.peak_bytes, a.flops) == (b.peak_bytes, b.flops)
    assert all(p.is_meta and p.grad is None for p in meta.model.parameters())


@needs_libtpu
def test_out_of_memory_is_a_report():
    x = mt.empty(100_000, 100_000, device="meta")
    report = mt.tpu.estimate(lambda a: a @ a, (x,))
    assert not report.fits and report.argument_bytes == 4 * 10**10
    assert report.peak_bytes > report.capacity == int(15.75 * 2**30)
    assert "DOES NOT FIT" in str(report) and "Ran out of memory" in str(report)


@needs_libtpu
def test_what_falls_to_the_host():
    def step(x):
        found = mt.linalg.eigvals(x).abs() + x[0]
        return found.sum().item()

    report = mt.tpu.estimate(step, mt.eye(4))
    assert [w.what for w in report.host_work] == ["eigvals", "a value is read, float32[]"]
    assert report.host_work[1].place.source == "return found.sum().item()"
    assert "XLA has no program for it" in str(report)


@needs_libtpu
def test_complex128_does_not_reach_the_compiler():
    x = mt.zeros(4, dtype=mt.float64)
    report = mt.tpu.estimate(lambda t: mt.fft.fft(t).abs() * t, x)
    assert {w.why for w in report.host_work} == {"TPUs have no complex128"}
    assert "fft_c2c" in [w.what for w in report.host_work]
    assert not mt.tpu.estimate(lambda t: t.to(mt.complex64) * 2j, mt.zeros(4)).host_work


@needs_libtpu
def test_a_shape_that_depends_on_data_ends_the_estimate():
    report = mt.tpu.estimate(lambda x: (x * 2)[x > 0].sum(), mt.zeros(8))
    assert report.stopped.why == "the shape of nonzero's result depends on data"
    assert {k for c in report.costs for k in c.kernels} <= {"mul", "gt"}
    assert "the estimate ends" in str(report)

    def waits(x):
        while not (x > 1).any().item():
            x = x + 1
        return x

    assert "the host reads more than" in mt.tpu.estimate(waits, mt.zeros(8)).stopped.why
    with pytest.raises(ValueError, match="nothing to compile: the shape of nonzero"):
        mt.tpu.estimate(lambda x: x.nonzero(), mt.zeros(8))


@needs_libtpu
def test_a_function_that_fails_fails():
    with pytest.raises(RuntimeError, match="must match the size"):
        mt.tpu.estimate(lambda x: x + x[:, :2], mt.zeros(2, 3))
    with pytest.raises(ValueError, match="outlives"):
        mt.tpu.estimate(lambda x: None, mt.zeros(2))


# --- where it cannot work -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v5e", "v9:1x1", "v5e:0x1", "v5e:2xa", "v5e:2x2x2", ""])
def test_topologies_that_do_not_exist(name):
    with pytest.raises(ValueError, match="topology"):
        topology.split(name)


def test_shapes_of_topologies():
    assert topology.split("v5e:2x4") == ("v5e", (2, 4))
    assert topology.split("v5p:2x2") == ("v5p", (2, 2, 1))


def test_other_platforms_are_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux on x86-64 only" in topology.unavailable()
    with pytest.raises(RuntimeError, match="Linux on x86-64 only"):
        mt.tpu.estimate(lambda x: x + 1, mt.zeros(2), "v6e:4x4")


def test_without_libtpu(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(topology.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(topology, "find_spec", lambda name: None)
    assert "pip install 'multitorch[tpu]'" in topology.unavailable()


# --- the compiler's text --------------------------------------------------------------------------

TEXT = """
%body.1 (a.1: f32[8]) -> f32[8] {
  %a.1 = f32[8]{0} parameter(0)
  ROOT %n.1 = f32[8]{0:T(8)} fusion(%a.1), calls=%f.1, backend_config={"estimated_cycles":"50"}
}

%f.1 (p.1: f32[8]) -> f32[8] {
  %p.1 = f32[8]{0} parameter(0)
  ROOT %x.1 = f32[8]{0} negate(%p.1), metadata={op_name="jit(program)/call3/neg"}
}

ENTRY %main (v.1: f32[8]) -> (f32[8], s32[2,2]) {
  %v.1 = f32[8]{0:T(8)} parameter(0)
  %w.1 = (f32[8]{0:T(8)}, s32[2,2]{1,0}) while(%v.1), body=%body.1, backend_config={"known_trip_count":{"n":"4"}}
  ROOT %s.1 = f32[8]{0} sort(%v.1), metadata={op_name="jit(program)/call12/sort"}
}
"""


def test_operations_of_a_program():
    found = work.Program(TEXT, clock=100.0, bandwidth=32.0).operations()
    assert [(o.kind, o.seconds, o.bytes, o.calls) for o in found] == [
        ("while", 2.0, 32 + 32, (3,)),
        ("sort", 2.0, 64, (12,)),
    ]


# --- eager calls on a TPU -------------------------------------------------------------------------


@pytest.fixture
def fresh_warnings(monkeypatch):
    monkeypatch.setattr(guard, "_warned", set())


def test_what_a_tpu_refuses_runs_on_the_host_after_one_warning(fresh_warnings):
    calls = []

    def kernel(x, *, k):
        calls.append(len(calls))
        if len(calls) == 1:
            raise NotImplementedError("no such algorithm")
        return x * k

    safe = guard.guard("lu", kernel, lambda x, *, k: x * k)
    x = jax.numpy.ones(3)
    with pytest.warns(RuntimeWarning, match="lu: the TPU cannot do this"):
        assert safe(x, k=2).tolist() == [2.0] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert safe(x, k=2).tolist() == [2.0] * 3
    assert len(calls) == 3


def test_programs_that_would_end_the_process_are_refused():
    def traced(function, dtype):
        with guard.x64(True):
            return jax.jit(function).trace(jax.ShapeDtypeStruct((3, 3), dtype))

    svd = jax.jit(jax.numpy.linalg.svd)
    assert guard.why_not(traced(lambda x: svd(x)[0], np.float32)) == guard.NO_SVD
    values = traced(lambda x: jax.numpy.linalg.svd(x, compute_uv=False), np.float32)
    assert not guard.why_not(values)
    assert not guard.why_not(traced(lambda x: x @ x, np.complex64))
    with pytest.raises(RuntimeError, match="no complex128. Remedy"):
        guard.check_program(traced(jax.numpy.fft.fft, np.float64))


def test_complex128_stays_off_a_tpu(fresh_warnings):
    def to_complex(x):
        return jax.lax.complex(x, x)

    safe = guard.guard("complex", to_complex, to_complex)
    assert safe(jax.numpy.ones(2, np.float32)).dtype == np.complex64
    with guard.x64(True), pytest.warns(RuntimeWarning, match="complex"):
        with pytest.raises(RuntimeError, match="TPUs have no complex128. Remedy: use complex64"):
            safe(jax.numpy.ones(2, np.float64))
    assert guard.guard("f", lambda x: x, lambda x: x)(1j).__class__ is np.complex64


# --- the command ----------------------------------------------------------------------------------

SCRIPT = """
import multitorch as torch

model = torch.nn.Linear(16, 4)

def step(x, y):
    return torch.nn.functional.mse_loss(model(x), y)

def make():
    return lambda x: (x @ x).sum(), torch.empty(90_000, 90_000, device="meta")
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "script_to_estimate.py"
    path.write_text(SCRIPT)
    yield str(path)
    sys.modules.pop(path.stem, None)


@needs_libtpu
def test_the_command(script, capsys):
    args = ["--args", "float32[8,16]", "float32[8,4]", "--topology", "v6e:1x1"]
    assert cli.main(["estimate", f"{script}:step", *args]) == 0
    out = capsys.readouterr().out
    assert "v6e:1x1: TPU v6 lite" in out and "script_to_estimate.py:7" in out
    assert cli.main(["estimate", f"{script}:make()"]) == 1
    assert "DOES NOT FIT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.py:f", "no such file"),
        ("{}:nothing", "no function"),
        ("{}", "expected script.py:"),
    ],
)
def test_the_command_says_what_is_wrong(script, capsys, target, message):
    assert cli.main(["estimate", target.format(script)]) == 2
    assert message in capsys.readouterr().err


def test_arguments_of_the_command():
    from multitorch.cli.estimate import argument

    x = argument("bfloat16[2, 3]", "meta")
    assert (x.shape, x.dtype, x.is_meta) == ((2, 3), mt.bfloat16, True)
    assert argument("float32[]", "cpu").shape == ()
    with pytest.raises(ValueError, match="expected a dtype and sizes"):
        argument("float33[2]", "cpu")
