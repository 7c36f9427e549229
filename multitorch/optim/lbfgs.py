"""L-BFGS: a quasi-Newton method of limited memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from multitorch.autograd import enable_grad, no_grad
from multitorch.ops.join import cat
from multitorch.ops.views import view_as_real
from multitorch.optim.optimizer import Optimizer, check_lr
from multitorch.tensor import Tensor

__all__ = ["LBFGS"]

Evaluate = Callable[[float], tuple[float, Tensor]]


class LBFGS(Optimizer):
    """Follow the direction that the last `history_size` changes of the gradient suggest.

    `step` needs a closure that computes the loss and its gradients; it is called up to `max_eval`
    times. `line_search_fn` is None, for steps of length `lr`, or "strong_wolfe".

    >>> p = multitorch.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = multitorch.optim.LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (p * p).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)
    tensor(13., grad_fn=<SumBackward0>)
    >>> p.abs().max().item() < 1e-6
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = dict(
            lr=lr,
            max_iter=max_iter,
            max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    # --- the parameters as one vector ---

    def _flat_grad(self) -> Tensor:
        grads = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in self._params]
        return cat([_real(g.detach()).reshape(-1) for g in grads])

    def _move(self, t: float, direction: Tensor) -> None:
        """Add `t` times a direction to the parameters."""
        start = 0
        for p in self._params:
            x = _real(p.detach())
            part = direction[start : start + x.numel()]
            x.add_(part.view(x.shape), alpha=t)
            start += x.numel()

    def _restore(self, values: list[Tensor]) -> None:
        for p, value in zip(self._params, values, strict=True):
            p.copy_(value)

    def _evaluator(self, closure: Callable[[], Any], direction: Tensor) -> Evaluate:
        """Return the function that gives loss and gradient at `t` along a direction from here."""
        here = [p.detach().clone() for p in self._params]

        def evaluate(t: float) -> tuple[float, Tensor]:
            self._move(t, direction)
            loss = float(closure())
            grad = self._flat_grad()
            self._restore(here)
            return loss, grad

        return evaluate

    # --- stepping ---

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take up to `max_iter` steps; return the loss at the start."""
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")

        def compute() -> Any:
            with enable_grad():
                return closure()

        with no_grad():
            return self._minimize(compute)

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = closure()
        loss, grad = float(first), self._flat_grad()
        evals = 1
        state["func_evals"] += 1
        if _largest(grad) <= group["tolerance_grad"]:
            return first
        for n in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            self._choose_direction(state, grad, group["history_size"])
            d = state["d"]
            state["prev_flat_grad"], state["prev_loss"] = grad.clone(), loss
            lr = float(group["lr"])
            fresh = state["n_iter"] == 1
            state["t"] = min(1.0, 1.0 / float(grad.abs().sum())) * lr if fresh else lr
            slope = float(grad.dot(d))
            if slope > -group["tolerance_change"]:
                break
            last = n == group["max_iter"]
            used, loss, grad = self._advance(closure, state, loss, grad, slope, group, last)
            evals += used
            state["func_evals"] += used
            if last or evals >= group["max_eval"] or self._converged(state, loss, grad, group):
                break
        return first

    def _advance(
        self, closure: Callable[[], Any], state: dict[str, Any], loss: float, grad: Tensor,
        slope: float, group: dict[str, Any], last: bool,
    ) -> tuple[int, float, Tensor]:  # fmt: skip
        """Move along the direction; return the calls of the closure, the loss and the gradient."""
        d, t = state["d"], state["t"]
        name = group["line_search_fn"]
        if name is None:
            self._move(t, d)
            if last:
                return 0, loss, grad
            return 1, float(closure()), self._flat_grad()
        if name != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        start = _Point(0.0, loss, grad, slope)
        evaluate = self._evaluator(closure, d)
        point, used = _search(evaluate, d, start, t)
        state["t"] = point.t
        self._move(point.t, d)
        return used, point.loss, point.grad

    def _converged(
        self, state: dict[str, Any], loss: float, grad: Tensor, group: dict[str, Any]
    ) -> bool:
        change = group["tolerance_change"]
        return (
            _largest(grad) <= group["tolerance_grad"]
            or _largest(state["d"] * state["t"]) <= change
            or abs(loss - state["prev_loss"]) < change
        )

    def _choose_direction(self, state: dict[str, Any], grad: Tensor, size: int) -> None:
        """Set `d` to minus the gradient times the approximate inverse of the Hessian."""
        if state["n_iter"] == 1:
            state.update(d=-grad, old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return
        ys, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
        product = y.dot(s)
        if float(product) > 1e-10:  # the curvature is positive: remember the pair
            if len(ys) == size:
                for history in (ys, steps, ro):
                    history.pop(0)
            ys.append(y)
            steps.append(s)
            ro.append(1.0 / product)
            state["H_diag"] = product / y.dot(y)
        state["d"] = _two_loops(-grad, ys, steps, ro, state["H_diag"])


def _two_loops(q: Tensor, ys: list, steps: list, ro: list, scale: Any) -> Tensor:
    weights = []
    for y, s, r in zip(reversed(ys), reversed(steps), reversed(ro), strict=True):
        weights.append(s.dot(q) * r)
        q = q - y * weights[-1]
    q = q * scale
    for y, s, r, w in zip(ys, steps, ro, reversed(weights), strict=True):
        q = q + s * (w - y.dot(q) * r)
    return q


def _real(t: Tensor) -> Tensor:
    return view_as_real(t) if t.is_complex() else t


def _largest(t: Tensor) -> float:
    return float(t.abs().max())


# --- line search ---------------------------------------------------------------------------------


class _Point(NamedTuple):
    """A place on the line: loss, gradient, and slope along the direction."""

    t: float
    loss: float
    grad: Tensor
    slope: float


_DECREASE, _CURVATURE, _MOST, _NEAR = 1e-4, 0.9, 25, 1e-9


def _search(evaluate: Evaluate, direction: Tensor, start: _Point, t: float) -> tuple[_Point, int]:
    """Find a point that satisfies the strong Wolfe conditions; return it and the evaluations."""

    def at(t: float) -> _Point:
        loss, grad = evaluate(t)
        return _Point(t, loss, grad, float(grad.dot(direction)))

    bracket, done, tries, used = _bracket(at, start, t)
    if not done:
        bracket, more = _zoom(at, start, bracket, _MOST - tries, _largest(direction))
        used += more
    return min(bracket, key=lambda p: p.loss), used


def _too_high(new: _Point, start: _Point) -> bool:
    return new.loss > start.loss + _DECREASE * new.t * start.slope


def _flat_enough(new: _Point, start: _Point) -> bool:
    return abs(new.slope) <= -_CURVATURE * start.slope


def _bracket(
    at: Callable[[float], _Point], start: _Point, t: float
) -> tuple[list[_Point], bool, int, int]:
    """Go outward until a good point lies between two; return them, or the good point itself."""
    before, new = start, at(t)
    used = 1
    for tries in range(_MOST):
        if _too_high(new, start) or (tries > 1 and new.loss >= before.loss):
            return [before, new], False, tries, used
        if _flat_enough(new, start):
            return [new], True, tries, used
        if new.slope >= 0:
            return [before, new], False, tries, used
        low, high = new.t + 0.01 * (new.t - before.t), new.t * 10
        t = _cubic_minimum(before, new, low, high)
        before, new = new, at(t)
        used += 1
    return [start, new], False, _MOST, used


def _zoom(
    at: Callable[[float], _Point], start: _Point, bracket: list[_Point], tries: int, length: float
) -> tuple[list[_Point], int]:
    """Narrow the bracket down to a good point."""
    stalled, used = False, 0
    low, high = sorted((0, 1), key=lambda i: bracket[i].loss)
    while used < tries:
        left, right = sorted(p.t for p in bracket)
        if (right - left) * length < _NEAR:
            break
        t = _cubic_minimum(bracket[0], bracket[1], left, right)
        edge = 0.1 * (right - left)
        if min(right - t, t - left) < edge:
            # too near an end for the second time, or outside: keep a distance from it
            if stalled or t >= right or t <= left:
                t = right - edge if abs(t - right) < abs(t - left) else left + edge
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        new = at(t)
        used += 1
        if _too_high(new, start) or new.loss >= bracket[low].loss:
            bracket[high] = new
            low, high = sorted((0, 1), key=lambda i: bracket[i].loss)
            continue
        done = _flat_enough(new, start)
        if not done and new.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
        if done:
            break
    return [bracket[low]], used


def _cubic_minimum(a: _Point, b: _Point, low: float, high: float) -> float:
    """Return where the cubic through two points with their slopes is least, within bounds."""
    if a.t > b.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t) if a.t != b.t else 0.0
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return (low + high) / 2
    d2 = square**0.5
    divisor = b.slope - a.slope + 2 * d2
    if not divisor:
        return (low + high) / 2
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor)
    return min(max(t, low), high)
