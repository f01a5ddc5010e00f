"""What a rule that picks from a pool of B labelled candidates scores, in closed form over random pools.

With the candidates of an item in falling preference, the r-th of C is the one that a random pool of B picks with chance
C(C - r, B - 1) / C(C, B): no pool needs to be drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.gains.pools import favourite_chances
from iclscope.statistics.ranks import Float

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Rule:
    """How a demonstration is picked from a pool: the one with the highest `preference` [C, M], or any if that is None.

    `items` [M] says of which item each column is; an item may have several, over which its score is averaged.
    """

    name: str
    preference: Float | None
    items: Ids

    @classmethod
    def search(cls, scores: Float, halves: Sequence[NDArray[np.bool_]]) -> "Rule":
        """The best mean score on one half of the items, for those of the other; `halves` [N] are taken both ways."""
        parts, items = [], []
        for half in [side for one in halves for side in (one, ~one)]:
            judged = np.flatnonzero(~half)
            parts.append(np.repeat(scores[:, half].mean(axis=1)[:, None], len(judged), axis=1))
            items.append(judged)
        return cls("search", np.concatenate(parts, axis=1), np.concatenate(items))

    def among(self, rows: Ids) -> "Rule":
        """The same rule in a study of some of the candidates."""
        return Rule(self.name, None if self.preference is None else self.preference[rows], self.items)

    def at_random(self, scores: Float, budgets: Sequence[int]) -> Float:
        """Expected score of each item in random pools of B of the candidates [budgets, N]; `scores` are [C, N]."""
        if self.preference is None:
            return np.tile(scores.mean(axis=0), (len(budgets), 1))
        order = np.argsort(-self.preference, axis=0, kind="stable")
        ranked = np.take_along_axis(scores[:, self.items], order, axis=0)
        chances = np.stack([favourite_chances(len(scores), budget) for budget in budgets])
        return self._per_item(chances @ ranked, scores.shape[1])

    def of(self, scores: Float, members: Ids) -> Float:
        """Score of each item with the pool `members` [N]."""
        if self.preference is None:
            return scores[members].mean(axis=0)
        best = members[self.preference[members].argmax(axis=0)]
        return self._per_item(scores[best, self.items][None], scores.shape[1])[0]

    def _per_item(self, values: Float, items: int) -> Float:
        """Mean over the columns of each item: values [k, M] as [k, N]."""
        times = np.bincount(self.items, minlength=items)
        return np.stack([np.bincount(self.items, row, items) for row in values]) / times


def powers(most: int) -> list[int]:
    """Budgets 1, 2, 4, … up to `most`."""
    return [2**k for k in range(max(1, most).bit_length())]
