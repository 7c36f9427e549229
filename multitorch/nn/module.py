"""Module: the base class of layers and models."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Self

from multitorch.autograd.modes import changes
from multitorch.autograd.tape import RemovableHandle
from multitorch.nn.module_convert import ConvertMethods
from multitorch.nn.module_errors import LOCATED_ERRORS, locate
from multitorch.nn.module_hooks import (
    HookDict,
    HookMethods,
    add_hook,
    call_with_hooks,
    register_module_backward_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)
from multitorch.nn.module_state import EXTRA_STATE_KEY, StateMethods, _IncompatibleKeys
from multitorch.nn.module_tree import TreeMethods
from multitorch.nn.parameter import Buffer, Parameter
from multitorch.nn.registry import Registry
from multitorch.tensor import Tensor

__all__ = [
    "EXTRA_STATE_KEY",
    "Module",
    "_IncompatibleKeys",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

_REGISTRIES = ("_parameters", "_buffers", "_modules")
_STATE_HOOKS = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)

_buffer_registration_hooks: HookDict = OrderedDict()
_module_registration_hooks: HookDict = OrderedDict()
_parameter_registration_hooks: HookDict = OrderedDict()


class Module(TreeMethods, StateMethods, ConvertMethods, HookMethods):
    """Base class of all layers and models: holds parameters, buffers and child modules.

    Assigning a Parameter or a Module to an attribute registers it.

    >>> import multitorch as torch
    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = torch.nn.Linear(4, 2)
    ...     def forward(self, x):
    ...         return self.fc(x).relu()
    >>> Net()
    Net(
      (fc): Linear(in_features=4, out_features=2, bias=True)
    )
    >>> Net()(torch.ones(3, 4)).shape
    torch.Size([3, 2])
    """

    dump_patches: bool = False
    call_super_init: bool = False
    training: bool
    _counts_changes = True
    """Tells `compile` that what happens to the attributes is counted in `modes.changes`."""
    _compiled_call: Callable[..., Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            name = type(self).__name__
            if kwargs:
                key = next(iter(kwargs))
                raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{key}'")
            raise TypeError(
                f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given"
            )
        own = self.__dict__
        own["training"] = True
        for registry in _REGISTRIES:
            own[registry] = Registry(self)
        own["_non_persistent_buffers_set"] = set()
        for hooks in _STATE_HOOKS:
            own[hooks] = OrderedDict()
        self._init_hooks()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # --- calling ---

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass overrides it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._slow_call:
                return self._call_slowly(args, kwargs)
            return self.forward(*args, **kwargs)
        except LOCATED_ERRORS as error:
            locate(error, self, args, kwargs)
            raise

    def _call_slowly(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        if self._compiled_call is not None:
            return self._compiled_call(*args, **kwargs)
        return call_with_hooks(self, args, kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return call_with_hooks(self, args, kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile this module's call, hooks included; arguments are those of ``compile``."""
        import multitorch

        self._compiled_call = multitorch.compile(self._call_impl, *args, **kwargs)
        self._slow_call = True

    # --- registration ---

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_new_name(name, "parameter", self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{_type_name(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if not param.is_leaf:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
        self._parameters[name] = _announce(_parameter_registration_hooks, self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not a parameter; ``persistent`` puts it in state_dict."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_new_name(name, "buffer", self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = _announce(_buffer_registration_hooks, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module; None reserves the name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_type_name(module)} is not a Module subclass")
        self._check_new_name(name, "module", self._modules)
        self._modules[name] = _announce(_module_registration_hooks, self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child module: another name of add_module."""
        self.add_module(name, module)

    def _check_new_name(self, name: str, kind: str, registry: dict) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_type_name(name)}")
        if name not in registry and self._has_attribute(name):
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            got = f", got: {name}" if kind == "module" else ""
            raise KeyError(f'{kind} name can\'t contain "."{got}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')

    def _has_attribute(self, name: str) -> bool:
        # As hasattr, without the price of an AttributeError for the usual answer, no.
        return name in self.__dict__ or (hasattr(type(self), name) and hasattr(self, name))

    # --- attributes ---

    def __getattr__(self, name: str) -> Any:
        # Members are mirrored in __dict__ (see Registry), so this is reached for what is absent,
        # or where a subclass has put a plain dict in a registry's place.
        own = self.__dict__
        for registry in _REGISTRIES:
            members = own.get(registry)
            if members is not None and name in members:
                return members[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        changes[0] += 1
        own = self.__dict__
        if isinstance(value, Parameter):
            self._require_init("_parameters", "parameters")
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise _wrong_kind(value, name, "parameter", "torch.nn.Parameter or None")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._require_init("_modules", "module")
            self._forget(name, keep="_modules")
            self._modules[name] = _announce(_module_registration_hooks, self, name, value)
        elif name in own.get("_modules", ()):
            if value is not None:
                raise _wrong_kind(value, name, "child module", "torch.nn.Module or None")
            self._modules[name] = _announce(_module_registration_hooks, self, name, value)
        elif isinstance(value, Buffer) or name in own.get("_buffers", ()):
            self._set_buffer(name, value)
        elif name in _REGISTRIES:
            self._replace_registry(name, value)
        else:
            super().__setattr__(name, value)

    def _set_buffer(self, name: str, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise _wrong_kind(value, name, "buffer", "torch.nn.Buffer, torch.Tensor or None")
        self._require_init("_buffers", "buffer")
        if isinstance(value, Buffer):
            self._forget(name, keep="_buffers")
            self.register_buffer(name, value, value.persistent)
        else:
            self._buffers[name] = _announce(_buffer_registration_hooks, self, name, value)

    def _require_init(self, registry: str, what: str) -> None:
        if registry not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")

    def _forget(self, name: str, keep: str) -> None:
        """Remove ``name`` wherever it is, except from the registry ``keep``."""
        own = self.__dict__
        if name not in own or name in own[keep]:
            return
        for registry in _REGISTRIES:
            own[registry].pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        own.pop(name, None)

    def _replace_registry(self, registry: str, members: Any) -> None:
        own = self.__dict__
        for name in own.get(registry, ()):
            own.pop(name, None)
        own[registry] = Registry(self, members)

    def __delattr__(self, name: str) -> None:
        changes[0] += 1
        own = self.__dict__
        for registry in _REGISTRIES:
            if name in own.get(registry, ()):
                del own[registry][name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        # Names that are no identifiers (the "0" of a Sequential) are of no use to completion.
        return sorted(key for key in {*dir(type(self)), *self.__dict__} if not key[:1].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = self.__dict__
        own.update(state)
        for hooks in _STATE_HOOKS:
            own.setdefault(hooks, OrderedDict())
        own.setdefault("_non_persistent_buffers_set", set())
        if "_forward_hooks" not in own:
            self._init_hooks()
        for registry in _REGISTRIES:
            own[registry] = Registry(self, own.get(registry))

    # --- modes ---

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and in every child: it drives dropout and batch norm."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether autograd records on the parameters: False freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the parameters' gradients, to None or to zeros."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                parameter.grad.detach_()
                parameter.grad.zero_()

    # --- printing ---

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Return the settings that the printed form shows; a subclass overrides it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [
            f"({name}): {indent(repr(module), 2)}" for name, module in self._modules.items()
        ]
        lines = extra + children
        if not lines:
            return f"{self._get_name()}()"
        if len(extra) == 1 and not children:
            return f"{self._get_name()}({extra[0]})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


def indent(text: str, spaces: int) -> str:
    """Indent every line of ``text`` but the first."""
    return text.replace("\n", "\n" + " " * spaces)


def _wrong_kind(value: Any, name: str, kind: str, expected: str) -> TypeError:
    return TypeError(
        f"cannot assign '{_type_name(value)}' as {kind} '{name}' ({expected} expected)"
    )


def _type_name(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(value.type())
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return module + kind.__qualname__


# --- registration hooks for every module ----------------------------------------------------------


def _announce(hooks: HookDict, module: Module, name: str, member: Any) -> Any:
    for hook in hooks.values():
        replaced = hook(module, name, member)
        if replaced is not None:
            member = replaced
    return member


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` at every buffer registration; a result replaces it."""
    return add_hook(_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` at every module registration."""
    return add_hook(_module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, param)`` at every parameter registration."""
    return add_hook(_parameter_registration_hooks, hook)
