"""Parametrizations: a parameter that is computed from others each time it is read."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

from multitorch.autograd import no_grad
from multitorch.nn.container import ModuleDict, ModuleList
from multitorch.nn.module import Module
from multitorch.nn.parameter import Parameter
from multitorch.tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache: dict[tuple[int, str], Any] = {}
_caching = 0


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Compute every parametrized tensor once only within this block."""
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _cache.clear()


def _registered(module: Module, name: str, value: Any) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


class ParametrizationList(ModuleList):
    """The maps of one tensor, applied in order to `original` (or `original0`, `original1` …)."""

    original: Tensor
    unsafe: bool

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        before = (original.shape, original.dtype)
        with no_grad():
            new = self._invert(original)
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            if not unsafe and original.dtype != new.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            # the same object: an optimizer may hold it
            if new is not original:
                with no_grad():
                    original.data = new.detach()
            _registered(self, "original", original)
        else:
            for i, t in enumerate(new):
                if not isinstance(t, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                        f"tuple...). Got element {i} of the sequence with type {type(t).__name__}."
                    )
                if isinstance(original, Parameter):
                    t = Parameter(t, requires_grad=original.requires_grad)
                _registered(self, f"original{i}", t)
        if not unsafe:
            self._check(before)

    def _invert(self, value: Any) -> Any:
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                with contextlib.suppress(NotImplementedError):
                    value = module.right_inverse(value)  # type: ignore[operator]
        return value

    def _check(self, before: tuple) -> None:
        """Refuse maps that change the shape or dtype of the tensor."""
        value = self()
        if not isinstance(value, Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
        if value.dtype != before[1]:
            raise ValueError(
                "Registering a parametrization may not change the dtype of the tensor, unless "
                f"`unsafe` flag is enabled.\nunparametrized dtype: {before[1]}\n"
                f"parametrized dtype: {value.dtype}"
            )
        if value.shape != before[0]:
            raise ValueError(
                "Registering a parametrization may not change the shape of the tensor, unless "
                f"`unsafe` flag is enabled.\nunparametrized shape: {before[0]}\n"
                f"parametrized shape: {value.shape}"
            )

    def _originals(self) -> list[Tensor]:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the parametrized tensor is `value`."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)  # type: ignore[operator]
            values = [value] if self.is_tensor else list(value)
            originals = self._originals()
            if len(values) != len(originals):
                raise ValueError(
                    f"'right_inverse' must return {len(originals)} tensors. Got {len(values)}"
                )
            for original, new in zip(originals, values, strict=True):
                original.data = new.detach()

    def forward(self) -> Tensor:
        first, *rest = list(self)
        x = first(*self._originals())
        for module in rest:
            x = module(x)
        return x


# --- the class of a parametrized module ----------------------------------------------------------


def _inject_new_class(module: Module) -> None:
    """Give a module a class of its own, to hold the properties."""
    cls = type(module)

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        new = memo[id(self)] = self.__new__(type(self))
        new.__setstate__(copy.deepcopy(self.__dict__, memo))
        return new

    def refuse(self: Any, protocol: Any) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(). See: "
            "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
            "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
        )

    methods: dict[str, Any] = {"__reduce_ex__": refuse}
    if not hasattr(cls, "__deepcopy__"):
        methods["__deepcopy__"] = deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), methods)


def _inject_property(module: Module, name: str) -> None:
    """Make reading an attribute compute it, and writing it set what it is computed from."""
    if name in vars(type(module)):
        raise AssertionError(f"{type(module).__name__} already has an attribute {name!r}")

    def get(self: Any) -> Tensor:
        if not _caching:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def put(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, put))
    plain = type(module).__setattr__

    def setattr_(self: Any, key: str, value: Any) -> None:
        if isinstance(getattr(type(self), key, None), property):
            object.__setattr__(self, key, value)
        else:
            plain(self, key, value)

    type(module).__setattr__ = setattr_  # type: ignore[method-assign,assignment]


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute a parameter or buffer by `parametrization(original)` from now on.

    Several are applied one after another. A method `right_inverse` finds the original of a value.

    >>> import multitorch as torch
    >>> class Symmetric(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = torch.nn.Linear(3, 3)
    >>> _ = torch.nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        held = module.parametrizations[tensor_name]  # type: ignore[index]
        before = getattr(module, tensor_name)
        if not unsafe:
            after = parametrization(before)
            if not isinstance(after, Tensor):
                raise ValueError(
                    f"A parametrization must return a tensor. Got {type(after).__name__}."
                )
            for what in ("dtype", "shape"):
                if getattr(after, what) != getattr(before, what):
                    raise ValueError(
                        f"Registering a parametrization may not change the {what} of the tensor, "
                        "unless the `unsafe` flag is enabled."
                    )
        held.append(parametrization)
        held.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        maps = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_new_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = maps  # type: ignore[index]
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrized tensor (of that name)."""
    held = module.__dict__.get("_modules", {}).get("parametrizations")
    if not isinstance(held, ModuleDict):
        return False
    return len(held) > 0 if tensor_name is None else tensor_name in held


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make a tensor a plain one again: with its present value, or as the original it came from."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    held: Any = module.parametrizations[tensor_name]  # type: ignore[index]
    first = held._originals()[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach()
        if held.is_tensor and first.shape == value.shape:
            first.data = value
            result = first
        elif isinstance(first, Parameter):
            result = Parameter(value)
        else:
            result = value
    elif held.is_tensor:
        result = first
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]  # type: ignore[attr-defined]
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    _registered(module, tensor_name, result)
    return module


def type_before_parametrizations(module: Module) -> type:
    """Return the class that a module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give a module another's parametrizations, with the tensors that these start from."""
    if not is_parametrized(from_module):
        return to_module
    held: Any = from_module.parametrizations
    for name in list(held) if tensor_name is None else [tensor_name]:
        maps = held[name]
        if not hasattr(to_module, name):
            value = maps._originals()[0]
            fresh = Parameter(value.detach().clone()) if isinstance(value, Parameter) else value
            _registered(to_module, name, fresh)
        for module in maps:
            register_parametrization(to_module, name, module, unsafe=maps.unsafe)
        target: Any = to_module.parametrizations[name]  # type: ignore[index]
        for mine, theirs in zip(target._originals(), maps._originals(), strict=True):
            mine.data = theirs.detach().clone()
    return to_module
