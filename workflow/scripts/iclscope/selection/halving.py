"""Sequential halving: the best of many candidates with few evaluations, whose number is known beforehand."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import Float

Ids = NDArray[np.int64]


def rounds(candidates: int, first: int, items: int) -> Iterator[tuple[int, int]]:
    """Yield for every round how many candidates are left in it, and on how many new items each is tried.

    `first` items in the first round, then twice as many for the better half, until one candidate is left or all
    `items` are used: `candidates` x `first` pairs a round (Karnin, Koren and Somekh 2013, ICML).
    """
    left, new, used = candidates, first, 0
    while left > 1 and used < items:
        new = min(new, items - used)
        yield left, new
        left, new, used = -(-left // 2), 2 * new, used + new


def ranked(scores: Float, first: int, rng: np.random.Generator) -> Float:
    """How sequential halving prefers each candidate [C], from `scores` [C, n] on items in the order of their use.

    Those that stay in longer come first, then those with the better mean over all items so far, which all in a round
    have in common; equals in random order.
    """
    place = np.empty(len(scores))
    plan = rounds(len(scores), first, scores.shape[1])
    for alive in halve(rng.permutation(len(scores)), plan, lambda alive, _, used: scores[alive, :used].mean(axis=1)):
        place[alive] = np.arange(len(alive))
    return -place


def halve(candidates: Ids, plan: Iterable[tuple[int, int]], means: Callable[[Ids, int, int], Float]) -> Iterator[Ids]:
    """Yield those that are left in every round of `plan`, the best first; equals stay in the order of `candidates`.

    `means` returns the mean score of each of some candidates on all items so far, of which those from the second
    argument to the third, exclusive, are new.
    """
    alive, used = candidates, 0
    for left, new in plan:
        alive = alive[:left]
        alive = alive[np.argsort(-means(alive, used, used + new), kind="stable")]
        used += new
        yield alive
