"""`backward` and `grad`: what the user calls to run the tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multitorch.autograd import tape
from multitorch.autograd.tape import LEAF


def _tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _seed(root: Any, given: Any, create_graph: bool, index: int) -> Any:
    """Return the gradient to start from at one root."""
    if root._node is None:
        raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
    if given is None:
        if root.numel() != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        if root.is_complex():
            raise RuntimeError(
                f"grad can be implicitly created only for real scalar outputs but got {root.dtype}"
            )
        world = tape.Engine.tensor_world
        dev = root._dev
        one = world.raw_full(dev, 1, shape=root._a.shape, dtype=root._dtype.numpy())
        return world.wrap(one, dev, world.raw_world(dev)) if create_graph else one
    if tuple(given.shape) != tuple(root.shape):
        raise RuntimeError(
            f"Mismatch in shape: grad_output[0] has a shape of {given.shape} and output[0] has a "
            f"shape of {root.shape}."
        )
    if given.is_complex() != root.is_complex():
        raise RuntimeError(
            "For complex Tensors, both grad_output and output are required to have the same dtype. "
            f"Mismatch in dtype: grad_output[0] has a dtype of {given.dtype} and output[0] has a "
            f"dtype of {root.dtype}."
        )
    if given._dev is not root._dev:
        raise RuntimeError(
            f"invalid gradient at index {index} - expected device {root.device} but got "
            f"{given.device}"
        )
    if given._dtype is not root._dtype:
        given = given.to(root._dtype)
    return given if create_graph else tape.Engine.tensor_world.raw(given)


def _roots(outputs: Sequence[Any], gradients: Any, create_graph: bool) -> list[tuple[Any, Any]]:
    given = [None] * len(outputs) if gradients is None else list(_tuple(gradients))
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    pairs = enumerate(zip(outputs, given, strict=True))
    return [(t, _seed(t, g, create_graph, i)) for i, (t, g) in pairs]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` to `.grad` of the graph's leaves (or of `inputs` alone).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.backward.html
    """
    roots = _roots(_tuple(tensors), grad_tensors, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        tape.run_backward(roots, retain_graph=retain, create_graph=create_graph)
        return
    inputs = _tuple(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    found = tape.run_backward(roots, retain_graph=retain, create_graph=create_graph, inputs=inputs)
    for t, g in zip(inputs, found, strict=True):
        if t._node is not LEAF and g is not None:
            t._accumulate_grad(g, create_graph, True)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Return the gradients of the sum of `outputs` with respect to each of `inputs`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad.html
    """
    if is_grads_batched:
        raise NotImplementedError("grad(is_grads_batched=True) needs vmap, which is not there yet")
    inputs = _tuple(inputs)
    for t in inputs:
        if t._node is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    if allow_unused is False and materialize_grads:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True"
        )
    roots = _roots(_tuple(outputs), grad_outputs, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    found = tape.run_backward(
        roots, retain_graph=retain, create_graph=create_graph, inputs=inputs, accumulate=False
    )
    world = tape.Engine.tensor_world
    results = []
    for t, g in zip(inputs, found, strict=True):
        if g is None:
            if not (allow_unused or materialize_grads):
                raise RuntimeError(
                    "One of the differentiated Tensors appears to not have been used in the graph. "
                    "Set allow_unused=True if this is the desired behavior."
                )
            results.append(t.detach().new_zeros(t.shape) if materialize_grads else None)
        else:
            raw_world = world.raw_world(t._dev)
            results.append(g if create_graph else world.wrap(raw_world.own(g), t._dev, raw_world))
    return tuple(results)
