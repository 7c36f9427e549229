"""Fisher-Yates without a loop: the permutation that a list of swaps composes to.

Step i swaps positions i and `partners[i] >= i`. Position i is never touched afterwards, so the
value that it ends up with is the one that lay at its partner just before. That value came there
from the latest earlier step with the same partner, or lay there from the start; and so on backwards
along a chain of steps, which pointer doubling follows for all positions at once.
"""

from __future__ import annotations

import numpy as np

_LOOP_BELOW = 500


def shuffled(partners: np.ndarray, n: int) -> np.ndarray:
    """Return 0 … n-1 after the swaps (i, partners[i]) for i = 0 … n-2; `partners` are int64."""
    return _loop(partners, n) if n < _LOOP_BELOW else _compose(partners, n)


def _loop(partners: np.ndarray, n: int) -> np.ndarray:
    order = list(range(n))
    for i, other in enumerate(partners.tolist()):
        order[i], order[other] = order[other], order[i]
    return np.array(order, np.int64)


def _compose(partners: np.ndarray, n: int) -> np.ndarray:
    before, position, step = _meetings(partners)
    # The last step before i whose partner was i left at i what lay at its own position.
    step = np.where(step == position, before[step], step)
    source = np.arange(n)
    source[position[step >= 0]] = step[step >= 0]
    source = _roots(source)

    out = np.empty(n, np.int64)
    out[:-1] = np.where(before >= 0, source[before], partners)
    out[-1] = source[-1]
    return out


def inside_out(partners: np.ndarray) -> np.ndarray:
    """Return 0 … n-1 after the swaps (i, partners[i] <= i) for i = 0 … n-1."""
    before, position, step = _meetings(partners)
    here = np.arange(len(partners))
    # Step i brings i to its partner, and from there what the step before had brought; if there was
    # none, what the partner's own step had brought there.
    brought = np.where(before >= 0, before, here)
    out = brought[_roots(np.where(before >= 0, here, partners))]
    later = step > position
    out[position[later]] = step[later]
    return out


def _meetings(partners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the step before with the same partner (or -1), and each partner with its last step."""
    by_partner = _stable_argsort(partners)
    sorted_partners = partners[by_partner]
    repeats = sorted_partners[1:] == sorted_partners[:-1]
    before = np.full(len(partners), -1)
    before[by_partner[1:]] = np.where(repeats, by_partner[:-1], -1)
    ends = np.append(~repeats, True)
    return before, sorted_partners[ends], by_partner[ends]


def _roots(parent: np.ndarray) -> np.ndarray:
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent
        parent = further


def _stable_argsort(keys: np.ndarray) -> np.ndarray:
    """Sort by 16 bits at a time, for which NumPy has a radix sort."""
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    shift = 16
    while len(keys) >> shift:
        digit = (keys >> shift).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
        shift += 16
    return order
