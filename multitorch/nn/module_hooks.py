"""Hooks: functions that run around a module's forward and backward."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from multitorch.autograd import Function, is_grad_enabled
from multitorch.autograd.tape import RemovableHandle
from multitorch.tensor import Tensor

Hook = Callable[..., Any]
HookDict = OrderedDict[int, Hook]


class _HookTables:
    """The call hooks of one module, or of all modules."""

    def __init__(self) -> None:
        self._forward_pre_hooks: HookDict = OrderedDict()
        self._forward_hooks: HookDict = OrderedDict()
        self._forward_hooks_with_kwargs: OrderedDict[int, bool] = OrderedDict()
        self._forward_hooks_always_called: OrderedDict[int, bool] = OrderedDict()
        self._backward_pre_hooks: HookDict = OrderedDict()
        self._backward_hooks: HookDict = OrderedDict()


#: Hooks that run for every module.
GLOBAL = _HookTables()


def has_hooks(tables: Any) -> bool:
    """Tell whether a call has any hook of these tables to run."""
    return bool(
        tables._forward_pre_hooks
        or tables._forward_hooks
        or tables._backward_pre_hooks
        or tables._backward_hooks
    )


class HookMethods:
    """The ``register_*_hook`` methods of Module."""

    #: False: no hook and no compiled call, so ``__call__`` may go straight to ``forward``.
    #: A registration sets it (on the instance, or here for global hooks); the slow call resets it.
    _slow_call = False

    _forward_pre_hooks: HookDict
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks: HookDict
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _backward_pre_hooks: HookDict
    _backward_hooks: HookDict

    def _init_hooks(self) -> None:
        own = self.__dict__
        for name in _HOOK_TABLE_NAMES:
            own[name] = OrderedDict()

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before each forward; a result replaces the arguments.

        With ``with_kwargs`` it is called as ``hook(module, args, kwargs)`` and returns both.
        """
        handle = add_hook(
            self._forward_pre_hooks, hook, prepend, self._forward_pre_hooks_with_kwargs
        )
        if with_kwargs:
            self._forward_pre_hooks_with_kwargs[handle.id] = True
        self._slow_call = True
        return handle

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each forward; a result replaces the output.

        With ``with_kwargs`` it is called as ``hook(module, args, kwargs, output)``. With
        ``always_call`` it runs even when forward raises.
        """
        handle = _register_forward(self, hook, prepend, with_kwargs, always_call)
        self._slow_call = True
        return handle

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` when the gradient reaches the module's output."""
        handle = add_hook(self._backward_pre_hooks, hook, prepend)
        self._slow_call = True
        return handle

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` once the input gradients are known."""
        handle = add_hook(self._backward_hooks, hook, prepend)
        self._slow_call = True
        return handle

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """Register a full backward hook (PyTorch's older kind is deprecated there)."""
        return self.register_full_backward_hook(hook)


_HOOK_TABLE_NAMES = tuple(n for n in HookMethods.__annotations__ if n.startswith("_"))


def add_hook(hooks: HookDict, hook: Hook, prepend: bool = False, *extra: Any) -> RemovableHandle:
    """Store a hook, at the front with ``prepend``; ``extra`` are its flags' tables."""
    handle = RemovableHandle(hooks, extra=extra)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _register_forward(
    tables: Any, hook: Hook, prepend: bool, with_kwargs: bool, always_call: bool
) -> RemovableHandle:
    kwargs_flags = tables._forward_hooks_with_kwargs
    always_flags = tables._forward_hooks_always_called
    handle = add_hook(tables._forward_hooks, hook, prepend, kwargs_flags, always_flags)
    if with_kwargs:
        kwargs_flags[handle.id] = True
    if always_call:
        always_flags[handle.id] = True
    return handle


# --- hooks for every module -----------------------------------------------------------------------


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, args)`` before the forward of every module."""
    HookMethods._slow_call = True
    return add_hook(GLOBAL._forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the forward of every module."""
    HookMethods._slow_call = True
    return _register_forward(GLOBAL, hook, False, with_kwargs, always_call)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the backward of every module."""
    HookMethods._slow_call = True
    return add_hook(GLOBAL._backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` after the backward of every module."""
    HookMethods._slow_call = True
    return add_hook(GLOBAL._backward_hooks, hook)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """Register a full backward hook for every module (PyTorch's older kind is deprecated)."""
    return register_module_full_backward_hook(hook)


# --- the call -------------------------------------------------------------------------------------


def call_with_hooks(module: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run ``module.forward`` with everything that is registered around it."""
    if not (has_hooks(module) or has_hooks(GLOBAL)):
        _return_to_fast_path(module)
        return module.forward(*args, **kwargs)
    call = _Call(module, args, kwargs)
    try:
        return call.run()
    except Exception:
        call.run_always_called()
        raise


def _return_to_fast_path(module: Any) -> None:
    HookMethods._slow_call = False
    if module._compiled_call is None:
        module.__dict__.pop("_slow_call", None)


class _Call:
    """One call of a module that has hooks."""

    def __init__(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        self.module = module
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.finished: set[int] = set()

    def run(self) -> Any:
        module = self.module
        self.run_pre_hooks()
        backward = None
        if has_backward_hooks(module):
            backward = BackwardHook(module)
            self.args = backward.wrap_inputs(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        for tables in (GLOBAL, module):
            for key, hook in list(tables._forward_hooks.items()):
                self.finished.add(key)
                self.apply_forward_hook(tables, key, hook)
        return self.result if backward is None else backward.wrap_outputs(self.result)

    def run_pre_hooks(self) -> None:
        module = self.module
        for hook in list(GLOBAL._forward_pre_hooks.values()):
            self.replace_args(hook(module, self.args))
        for key, hook in list(module._forward_pre_hooks.items()):
            if key in module._forward_pre_hooks_with_kwargs:
                self.replace_args_and_kwargs(hook(module, self.args, self.kwargs))
            else:
                self.replace_args(hook(module, self.args))

    def replace_args(self, args: Any) -> None:
        if args is not None:
            self.args = args if isinstance(args, tuple) else (args,)

    def replace_args_and_kwargs(self, both: Any) -> None:
        if both is None:
            return
        if not (isinstance(both, tuple) and len(both) == 2):
            raise RuntimeError(
                "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                f"but got {both}."
            )
        self.args, self.kwargs = both

    def apply_forward_hook(self, tables: Any, key: int, hook: Hook) -> None:
        if key in tables._forward_hooks_with_kwargs:
            result = hook(self.module, self.args, self.kwargs, self.result)
        else:
            result = hook(self.module, self.args, self.result)
        if result is not None:
            self.result = result

    def run_always_called(self) -> None:
        for tables in (GLOBAL, self.module):
            for key, hook in list(tables._forward_hooks.items()):
                if key in self.finished or key not in tables._forward_hooks_always_called:
                    continue
                try:
                    self.apply_forward_hook(tables, key, hook)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that "
                        f"was silenced as another error was raised in forward: {error}",
                        stacklevel=3,
                    )


# --- backward hooks -------------------------------------------------------------------------------


def has_backward_hooks(module: Any) -> bool:
    """Tell whether a backward hook applies to ``module``."""
    return bool(
        module._backward_hooks
        or module._backward_pre_hooks
        or GLOBAL._backward_hooks
        or GLOBAL._backward_pre_hooks
    )


class _Identity(Function):
    """The identity; backward passes the gradients through ``on_gradients``.

    As in PyTorch, a module's inputs get zeros where no gradient arrives, its outputs None.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, on_gradients: Hook, zeros: bool, *tensors: Tensor
    ) -> Any:
        ctx.set_materialize_grads(zeros)
        ctx.on_gradients = on_gradients
        outputs = tuple(t.view_as(t) for t in tensors)
        pairs = zip(outputs, tensors, strict=True)
        ctx.mark_non_differentiable(*[out for out, t in pairs if not t.requires_grad])
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        return (None, None, *ctx.on_gradients(grads))


class BackwardHook:
    """Catch the gradients at both ends of one module call and hand them to the module's hooks."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.hooks = [*GLOBAL._backward_hooks.values(), *module._backward_hooks.values()]
        self.pre_hooks = [
            *GLOBAL._backward_pre_hooks.values(),
            *module._backward_pre_hooks.values(),
        ]
        self.inputs = _Slots(0, ())
        self.outputs = _Slots(0, ())
        self.grad_outputs: tuple | None = None

    def wrap_inputs(self, args: tuple) -> tuple:
        """Make the module's inputs report their gradients."""
        args, self.inputs = _wrap(args, self.on_input_gradients, True)
        return args

    def wrap_outputs(self, result: Any) -> Any:
        """Make the module's outputs report their gradients."""
        single = not isinstance(result, tuple)
        results = (result,) if single else result
        results, self.outputs = _wrap(results, self.on_output_gradients, False)
        return results[0] if single else results

    def on_output_gradients(self, grads: tuple) -> tuple:
        grads = self.outputs.spread(grads)
        for hook in self.pre_hooks:
            grads = _replaced(hook(self.module, grads), grads, "pre hook", "grad_output")
        self.grad_outputs = grads
        if not self.inputs.indices:
            self.run_without_input_gradients()
        return self.outputs.gather(grads)

    def on_input_gradients(self, grads: tuple) -> tuple:
        if self.grad_outputs is None:
            return grads
        grads = self.inputs.spread(grads)
        for hook in self.hooks:
            result = hook(self.module, grads, self.grad_outputs)
            grads = _replaced(result, grads, "hook", "grad_input")
        self.grad_outputs = None
        return self.inputs.gather(grads)

    def run_without_input_gradients(self) -> None:
        nothing = (None,) * self.inputs.count
        if self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients.",
                stacklevel=2,
            )
        for hook in self.hooks:
            result = hook(self.module, nothing, self.grad_outputs)
            values = result if isinstance(result, tuple) else (result,)
            if any(value is not None for value in values):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_outputs = None


class _Slots:
    """Which positions of an argument tuple hold tensors whose gradients are watched."""

    def __init__(self, count: int, indices: tuple[int, ...]) -> None:
        self.count = count
        self.indices = indices

    def spread(self, grads: tuple) -> tuple:
        full: list[Any] = [None] * self.count
        for index, grad in zip(self.indices, grads, strict=True):
            full[index] = grad
        return tuple(full)

    def gather(self, grads: tuple) -> tuple:
        return tuple(grads[index] for index in self.indices)


def _wrap(values: tuple, on_gradients: Hook, zeros: bool) -> tuple[tuple, _Slots]:
    indices = tuple(i for i, value in enumerate(values) if isinstance(value, Tensor))
    tensors = [values[i] for i in indices]
    if not (is_grad_enabled() and any(t.requires_grad for t in tensors)):
        return values, _Slots(len(values), ())
    wrapped: Any = _Identity.apply(on_gradients, zeros, *tensors)
    new = list(values)
    for index, tensor in zip(indices, wrapped, strict=True):
        new[index] = tensor
    # A named tuple is rebuilt as one.
    rebuilt = values._make(new) if hasattr(values, "_make") else tuple(new)  # type: ignore[attr-defined]
    return rebuilt, _Slots(len(values), indices)


def _replaced(result: Any, grads: tuple, kind: str, what: str) -> tuple:
    if result is None:
        return grads
    result = result if isinstance(result, tuple) else (result,)
    if len(result) != len(grads):
        raise RuntimeError(
            f"Backward {kind} returned an invalid number of {what}, got {len(result)}, "
            f"but expected {len(grads)}"
        )
    return result
