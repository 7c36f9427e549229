"""The tape: gradients, graphs, hooks, modes, custom functions, and the errors."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import multitorch as mt


def leaf(values, device, dtype=mt.float64):
    return mt.tensor(values, dtype=dtype, device=device, requires_grad=True)


def test_backward_accumulates_into_leaves(device):
    x = leaf([1.0, 2.0], device)
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    assert x.grad.grad_fn is None and not x.grad.requires_grad


def test_the_grad_tensor_stays_the_same_object(device):
    x = leaf([1.0], device)
    x.sum().backward()
    held = x.grad
    x.sum().backward()
    assert x.grad is held and held.item() == 2.0


def test_leaves_do_not_share_the_memory_of_gradients(device):
    x, y = leaf([1.0, 2.0], device), leaf([3.0, 4.0], device)
    (x + y).sum().backward()
    x.grad.add_(10)
    assert y.grad.tolist() == [1.0, 1.0]


def test_gradients_are_summed_where_a_value_is_used_twice(device):
    x = leaf(3.0, device)
    y = x * 2
    (y * y + y).backward()
    assert x.grad.item() == 2 * (2 * 6 + 1)


def test_broadcasting_and_promotion_are_undone(device):
    x = leaf([[1.0], [2.0]], device, mt.float32)
    y = leaf([1.0, 2.0, 3.0], device, mt.float64)
    z = x * y
    assert z.dtype == mt.float64
    z.sum().backward()
    assert x.grad.shape == (2, 1) and x.grad.dtype == mt.float32
    assert x.grad.tolist() == [[6.0], [6.0]]
    assert y.grad.tolist() == [3.0, 3.0, 3.0]


def test_grad_of_inputs(device):
    x, y = leaf(2.0, device), leaf(3.0, device)
    gx, gy = mt.autograd.grad(x * x * y, (x, y))
    assert (gx.item(), gy.item()) == (12.0, 4.0)
    assert x.grad is None


def test_grad_of_an_intermediate_value(device):
    x = leaf(2.0, device)
    y = x * x
    (g,) = mt.autograd.grad(y * 5, y)
    assert g.item() == 5.0


def test_unused_inputs(device):
    x, y = leaf(2.0, device), leaf(3.0, device)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        mt.autograd.grad(x * 2, (x, y), retain_graph=True)
    assert mt.autograd.grad(x * 2, (x, y), allow_unused=True)[1] is None
    zero = mt.autograd.grad(x * 2, (x, y), materialize_grads=True)[1]
    assert zero.item() == 0.0


def test_higher_derivatives(device):
    x = leaf(2.0, device)
    value = x**4
    for expected in (32.0, 48.0, 48.0, 24.0):
        (g,) = mt.autograd.grad(value.sum(), x, create_graph=True)
        assert g.item() == pytest.approx(expected)
        value = g


def test_backward_with_create_graph_gives_differentiable_grads(device):
    x = leaf(3.0, device)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    (g,) = mt.autograd.grad(x.grad, x)
    assert g.item() == pytest.approx(18.0)


def test_second_backward_needs_retain_graph(device):
    x = leaf(2.0, device)
    y = (x * x).exp()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_non_scalar_root(device):
    x = leaf([1.0, 2.0], device)
    with pytest.raises(
        RuntimeError, match="grad can be implicitly created only for scalar outputs"
    ):
        (x * 2).backward()
    (x * 2).backward(mt.ones(2, dtype=mt.float64, device=device))
    assert x.grad.tolist() == [2.0, 2.0]


def test_root_without_graph(device):
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        mt.ones((), device=device).backward()


def test_leaf_in_place(device):
    x = leaf([1.0], device)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0].mul_(2)
    with mt.no_grad():
        x.add_(1)
    assert x.item() == 2.0


def test_modified_saved_tensor_names_both_lines(device):
    x = leaf([1.0, 2.0], device)
    y = x * 1
    z = y * y  # saved here
    y.add_(1)  # written here
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as caught:
        z.sum().backward()
    assert "# saved here" in str(caught.value)
    assert "# written here" in str(caught.value)


def test_modified_output_is_noticed(device):
    x = leaf([1.0, 2.0], device)
    y = x.exp()
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_writes_that_do_no_harm_pass(device):
    x = leaf([1.0, 2.0], device)
    y = x + 1
    y.mul_(3)
    y.add_(1)
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_in_place_on_a_view_reaches_the_base(device):
    x = leaf([1.0, 2.0, 3.0], device)
    y = x * 2
    y[1:].mul_(10)
    assert y.tolist() == [2.0, 40.0, 60.0]
    assert y.grad_fn.name() == "CopySlices"
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 20.0, 20.0]


def test_in_place_on_the_base_reaches_views(device):
    x = leaf([1.0, 2.0, 3.0], device)
    y = x * 1
    head = y[:2]
    y.mul_(x)
    assert head.tolist() == [1.0, 4.0]
    head.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0, 0.0]


def test_grad_fn_names_and_next_functions(device):
    x, y = leaf([1.0], device), leaf([2.0], device)
    z = x * y + 1
    assert z.grad_fn.name() == "AddBackward0"
    ((mul, number), (nothing, _)) = z.grad_fn.next_functions
    assert (mul.name(), number, nothing) == ("MulBackward0", 0, None)
    accumulate = mul.next_functions[0][0]
    assert accumulate.variable is x and "AccumulateGrad" in accumulate.name()
    assert z.is_leaf is False and x.is_leaf


def test_detach_and_requires_grad(device):
    x = leaf([1.0], device)
    y = (x * 2).detach()
    assert not y.requires_grad and y.is_leaf
    assert y.requires_grad_() is y and y.is_leaf
    with pytest.raises(RuntimeError, match="only change requires_grad flags of leaf"):
        (x * 2).requires_grad_(False)
    with pytest.raises(RuntimeError, match="floating point and complex"):
        mt.tensor([1], device=device).requires_grad_()


def test_retain_grad(device):
    x = leaf([1.0, 2.0], device)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    assert y.retains_grad and y.grad.tolist() == [4.0, 8.0]


def test_tensor_hooks(device):
    x = leaf([1.0], device)
    y = x * 2
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.item()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (y * 3).sum().backward(retain_graph=True)
    assert seen == [3.0] and x.grad.item() == 61.0
    handle.remove()
    (y * 3).sum().backward()
    assert seen == [3.0]


def test_post_accumulate_hook_and_node_hooks(device):
    x = leaf([1.0], device)
    order = []
    x.register_post_accumulate_grad_hook(lambda t: order.append(t.grad.item()))
    y = x * 2
    y.grad_fn.register_hook(lambda gi, go: order.append((gi[0].item(), go[0].item())))
    y.grad_fn.register_prehook(lambda go: (go[0] * 5,))
    y.sum().backward()
    assert order == [(10.0, 5.0), 10.0]


def test_modes_as_context_managers_and_decorators(device):
    x = leaf([1.0], device)

    @mt.no_grad()
    def without(t):
        return t * 2

    @mt.enable_grad()
    def within(t):
        return t * 2

    @mt.no_grad
    def bare(t):
        return t * 2

    assert not without(x).requires_grad and not bare(x).requires_grad
    with mt.no_grad():
        assert within(x).requires_grad and not mt.is_grad_enabled()
        with mt.set_grad_enabled(True):
            assert (x * 2).requires_grad
    mt.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    mt.set_grad_enabled(True)
    with mt.inference_mode():
        assert mt.is_inference_mode_enabled() and not (x * 2).requires_grad
    assert mt.is_grad_enabled() and not mt.is_inference_mode_enabled()


def test_modes_of_generators():
    @mt.no_grad()
    def generate():
        yield mt.is_grad_enabled()
        yield mt.is_grad_enabled()

    states = []
    for inside in generate():
        states.append((inside, mt.is_grad_enabled()))
    assert states == [(False, True), (False, True)]


def test_threads_have_modes_of_their_own():
    seen = {}
    entered, leave = threading.Event(), threading.Event()

    def worker():
        with mt.no_grad():
            entered.set()
            leave.wait(10)
            seen["worker"] = mt.is_grad_enabled()

    thread = threading.Thread(target=worker)
    thread.start()
    entered.wait(10)
    x = mt.ones(2, requires_grad=True)
    seen["main"] = (mt.is_grad_enabled(), (x * 2).requires_grad)
    leave.set()
    thread.join()
    assert seen == {"main": (True, True), "worker": False}


def test_a_graph_100_000_nodes_deep():
    x = mt.ones(1, dtype=mt.float64, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.item() == 1.0
    z = x
    for _ in range(100_000):
        z = z * 1.0
    del y, z  # freeing a deep graph must not recurse either


def test_nothing_waits_for_the_garbage_collector(device):
    gc.collect()
    gc.disable()
    try:
        x = leaf([1.0, 2.0], device)
        y = (x[:1] * x[1:]).exp()
        y.retain_grad()
        reference, node = weakref.ref(y), weakref.ref(y.grad_fn)
        y.sum().backward()
        del y
        assert reference() is None and node() is None
    finally:
        gc.enable()


class Cube(mt.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return scale * x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.scale * 3 * x * x, None


def test_custom_function(device):
    x = leaf([1.0, 2.0], device)
    y = Cube.apply(x, 2.0)
    assert y.grad_fn.name() == "CubeBackward"
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 24.0]


def test_custom_function_twice_differentiable(device):
    x = leaf([1.0, 2.0], device)
    (g,) = mt.autograd.grad(Cube.apply(x, 1.0).sum(), x, create_graph=True)
    (gg,) = mt.autograd.grad(g.sum(), x)
    assert gg.tolist() == [6.0, 12.0]
    assert mt.autograd.gradcheck(lambda t: Cube.apply(t, 1.5), leaf([0.5, 1.5], device))
    assert mt.autograd.gradgradcheck(lambda t: Cube.apply(t, 1.5), leaf([0.5, 1.5], device))


def test_custom_function_with_several_outputs(device):
    class Split(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(True)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            return 2 * a + 3 * b

    x = leaf([1.0], device)
    first, second = Split.apply(x)
    second.sum().backward()
    assert x.grad.item() == 3.0 and first.requires_grad


def test_custom_function_setup_context(device):
    class Square(mt.autograd.Function):
        @staticmethod
        def forward(x):
            return x * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    x = leaf([3.0], device)
    Square.apply(x).sum().backward()
    assert x.grad.item() == 6.0


def test_custom_function_wrong_number_of_gradients(device):
    class Wrong(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf([1.0], device)
    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        Wrong.apply(x, x).sum().backward()


def test_gradcheck_finds_a_wrong_rule():
    class Bad(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = leaf([1.0], "cpu")
    with pytest.raises(mt.autograd.GradcheckError, match="Jacobian mismatch"):
        mt.autograd.gradcheck(Bad.apply, x)
    assert mt.autograd.gradcheck(Bad.apply, x, raise_exception=False) is False


@pytest.mark.parametrize(
    "function",
    [
        lambda z: z * z,
        lambda z: z.conj() * z,
        lambda z: z.abs(),
        lambda z: (z.exp() + z.sin()).real,
        lambda z: z / (1 + z),
        lambda z: z**3,
    ],
)
def test_complex_gradients(function, device):
    z = mt.tensor([0.5 + 1j, -1.5 + 0.25j], dtype=mt.complex128, device=device, requires_grad=True)
    assert mt.autograd.gradcheck(function, z)
    assert mt.autograd.gradgradcheck(function, z)


def test_complex_convention_is_pytorchs(device):
    z = mt.tensor(3 + 4j, dtype=mt.complex128, device=device, requires_grad=True)
    z.abs().backward()
    assert z.grad.item() == pytest.approx(0.6 + 0.8j)


def test_a_rule_whose_input_needs_no_gradient_is_not_run(device):
    x, c = leaf([2.0], device), mt.tensor([3.0], dtype=mt.float64, device=device)
    (x * c).sum().backward()
    assert c.grad is None and x.grad.item() == 3.0


def test_gradients_across_devices(other_device):
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    y = x.to(other_device)
    assert y.device == mt.device(other_device).canonical()
    (y * y).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0] and x.grad.device == mt.device("cpu")


def test_a_gradient_is_given_on_the_output_s_device(other_device):
    x = leaf([1.0, 2.0], "cpu")
    for create_graph in (False, True):
        with pytest.raises(RuntimeError, match="invalid gradient at index 0 - expected device cpu"):
            mt.autograd.grad(x * 2, x, mt.ones(2, device=other_device), create_graph=create_graph)
    with pytest.raises(RuntimeError, match="expected device cpu but got meta"):
        (x * 2).backward(mt.ones(2, dtype=mt.float64, device="meta"))


def test_a_given_gradient_takes_the_output_s_dtype(device):
    x = leaf([1.0, 2.0], device, mt.float32)
    for create_graph in (False, True):
        (g,) = mt.autograd.grad(
            x * 2, x, mt.ones(2, device=device).double(), create_graph=create_graph
        )
        assert g.dtype == mt.float32 and g.tolist() == [2.0, 2.0]


def test_numpy_shares_memory_and_refuses_recorded_tensors():
    x = mt.ones(2)
    x.numpy()[0] = 5
    assert x.tolist() == [5.0, 1.0]
    with pytest.raises(RuntimeError, match="requires grad"):
        mt.ones(2, requires_grad=True).numpy()
    assert np.asarray(mt.arange(3)).tolist() == [0, 1, 2]
