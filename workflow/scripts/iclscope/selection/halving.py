"""Sequential halving: the best of many candidates with few evaluations, whose number is known beforehand."""

from collections.abc import Iterator

import numpy as np

from iclscope.statistics.ranks import Float


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
    alive, used = rng.permutation(len(scores)), 0
    for left, new in rounds(len(scores), first, scores.shape[1]):
        used += new
        alive = alive[:left]
        alive = alive[np.argsort(-scores[alive, :used].mean(axis=1), kind="stable")]
        place[alive] = np.arange(left)
    return -place
