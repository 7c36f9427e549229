"""Declare an op once: its name, promotion and derivative rule; get the function that applies it.

    exp = op("exp", "x", promote=to_float).vjp(x=lambda F, g, out: g * F.conj(out))

The parameters that a rule names after `F` and `g` are what the tape saves: an argument, an output
(`out`, or the names given as `outs`), `<argument>_shape` and `<argument>_dtype` (metadata only),
`needs` (which inputs want a gradient; only in a joint rule) or a static parameter of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from multitorch.autograd.tape import fit
from multitorch.ops.docs import LINES
from multitorch.ops.promote import Promotion

REGISTRY: dict[str, Op] = {}
"""Every primitive and fused op by name: what a `World` of tensors offers to the rules."""


class Kernels(dict):
    """An op's kernels by device, looked up in the backend at the first use on a device."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __missing__(self, dev: Any) -> Callable:
        kernel = self[dev] = dev.backend.kernel(self.name)
        return kernel


class Op:
    """The declaration of a primitive or fused op."""

    __slots__ = (
        "apply",
        "args",
        "broadcasts",
        "chain",
        "custom",
        "diff_outs",
        "frees",
        "hidden",
        "joint",
        "keep",
        "kernel",
        "kernels",
        "name",
        "node_name",
        "numbers",
        "opaque",
        "outs",
        "plan",
        "promote",
        "rules",
        "saver",
        "saves",
        "shape",
        "static_saves",
        "uses",
        "variadic",
        "view",
        "view_saver",
    )

    def __init__(
        self,
        name: str,
        args: str,
        *,
        outs: str = "out",
        diff_outs: tuple[int, ...] | None = None,
        promote: Promotion | None = None,
        keep: str = "",
        numbers: str | None = None,
        broadcasts: bool | None = None,
        kernel: str | None = None,
        node: str | None = None,
        shape: Callable | None = None,
        opaque: bool = False,
        hidden: bool = False,
    ) -> None:
        self.name, self.kernel = name, kernel or name
        stem = node or camel(name)
        self.node_name = stem if "Backward" in stem else stem + "Backward0"
        names = args.split()
        self.variadic = bool(names) and names[-1].startswith("*")
        self.args = tuple(n.lstrip("*") for n in names)
        self.outs = tuple(outs.split())
        self.diff_outs = diff_outs if diff_outs is not None else tuple(range(len(self.outs)))
        self.promote = promote
        self.keep = frozenset(keep.split())
        self.numbers = None if numbers is None else frozenset(numbers.split())
        """The arguments that may be a Python number; None if they all may."""
        if promote is not None and self.numbers is not None and self.args[-1] not in self.numbers:
            self.promote = promote.of_tensors()
        self.broadcasts = promote is not None if broadcasts is None else broadcasts
        self.shape, self.opaque = shape, opaque
        self.hidden = hidden
        """Whether all outputs but the first are for the rules only."""
        self.saver: Callable | None = None
        self.view_saver: Callable | None = None
        self.kernels = Kernels(self.kernel)
        self.rules: tuple[Any, ...] | None = None
        self.joint: Callable | None = None
        self.custom: Callable | None = None
        self.view: Callable | None = None
        self.chain: Callable | None = None
        """`chain(shape, **params)`: the steps that this view op is short for, if it is so."""
        self.saves: tuple[str, ...] = ()
        self.plan: tuple[tuple[str, Any], ...] = ()
        self.static_saves: tuple[bool, ...] = ()
        self.frees = False
        self.uses: tuple[tuple[int, ...], ...] | None = None
        """Per argument, the places in `saves` that its rule reads; None if they are not known."""
        self.apply: Callable = self
        if name in REGISTRY:
            raise ValueError(f"op {name!r} is declared twice")
        REGISTRY[name] = self

    # --- derivative rules

    def vjp(self, **rules: Callable) -> Callable:
        """Give one rule per differentiable argument: `rule(F, g, *saved names) -> gradient`."""
        unknown = set(rules) - set(self.args)
        if unknown:
            raise TypeError(f"op {self.name!r} has no argument {sorted(unknown)}")
        wanted = [_names(rules[a]) if a in rules else () for a in self.args]
        self._save(list(dict.fromkeys(n for names in wanted for n in names)))
        self.uses = tuple(tuple(map(self.saves.index, names)) for names in wanted)
        self.rules = tuple(
            _bind(rules[a], list(at)) if a in rules else None
            for a, at in zip(self.args, self.uses, strict=True)
        )
        return self._finish()

    def vjps(self, rule: Callable) -> Callable:
        """Give one joint rule that returns the gradients of all arguments, or None for some."""
        names = [n for n in _names(rule) if n != "needs"]
        self._save(names)
        gives_needs = "needs" in _names(rule)

        def joint(F: Any, g: Any, saved: Sequence[Any], needs: tuple[bool, ...]) -> Any:
            values = dict(zip(names, saved, strict=True))
            if gives_needs:
                values["needs"] = needs
            return rule(F, g, **values)

        self.joint = joint
        return self._finish()

    def nondiff(self) -> Callable:
        """Declare that the op has no derivative: its result never requires grad."""
        self.diff_outs = ()
        return self._finish()

    def _save(self, names: list[str]) -> None:
        order = [*self.args, *self.outs]
        names.sort(key=lambda n: order.index(n) if n in order else len(order))
        self.saves = tuple(names)
        self.plan = tuple(self._source(n) for n in names)
        self.static_saves = tuple(kind not in ("arg", "rest", "out") for kind, _ in self.plan)
        self.frees = not all(self.static_saves)

    def _source(self, name: str) -> tuple[str, Any]:
        if name in self.args:
            i = self.args.index(name)
            return ("rest" if self.variadic and i == len(self.args) - 1 else "arg"), i
        if name in self.outs:
            return "out", self.outs.index(name)
        stem, _, suffix = name.rpartition("_")
        if stem in self.args and suffix in ("shape", "dtype", "shapes", "dtypes"):
            return suffix, self.args.index(stem)
        if stem in self.args:
            raise TypeError(f"op {self.name!r}: a rule names {name!r}, which is not known")
        return "param", name

    def _finish(self) -> Callable:
        from multitorch.ops.specialized import make_apply

        self.apply = make_apply(self)
        self.apply.op = self  # type: ignore[attr-defined]
        self.apply.__doc__ = LINES.get(self.name)
        return self.apply

    def run_rules(
        self, F: Any, g: Any, saved: Sequence[Any], needs: tuple[bool, ...], meta: Any
    ) -> tuple[Any, ...]:
        """Run the rules of the inputs that `needs` marks, in the world `F`."""
        if self.joint is not None:
            gs = self.joint(F, g, saved, needs)
        else:
            assert self.rules is not None
            rules = self.rules
            if self.variadic:
                rules = rules[:-1] + (rules[-1],) * (len(needs) - len(rules) + 1)
            gs = [
                rule(F, g, saved) if need and rule is not None else None
                for rule, need in zip(rules, needs, strict=True)
            ]
        if meta is None:
            return tuple(gs)
        return tuple(
            fit(F, gi, m) if need else None for gi, m, need in zip(gs, meta, needs, strict=True)
        )

    def __call__(self, *args: Any, **params: Any) -> Any:
        return self.apply(*args, **params)

    def __repr__(self) -> str:
        return f"<op {self.name}({', '.join(self.args)})>"


op = Op


def camel(name: str) -> str:
    """Return 'LogSoftmax' for 'log_softmax'."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _names(rule: Callable) -> tuple[str, ...]:
    code = rule.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[:count]
    if names[:2] != ("F", "g"):
        raise TypeError(f"a derivative rule must begin with (F, g, ...), got {names}")
    return names[2:]


def _bind(rule: Callable, at: list[int]) -> Callable:
    if not at:
        return lambda F, g, s: rule(F, g)
    if len(at) == 1:
        i = at[0]
        return lambda F, g, s: rule(F, g, s[i])
    if len(at) == 2:
        i, j = at
        return lambda F, g, s: rule(F, g, s[i], s[j])
    return lambda F, g, s: rule(F, g, *[s[i] for i in at])
