"""What a choice costs: the tokens that a model has to read forward before the first demonstration is chosen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.selection.halving import rounds


@dataclass(frozen=True)
class Tokens:
    """Tokens of every demonstration [C] and of every item's prompt without one [N], how many attention masks are read
    under, and the number of candidates in the `pool` that is chosen from; `content_free` [C] are tokens of the
    questions without content behind each candidate.

    Candidates of a pool have the mean length. Answers, a few tokens each, are left out; nothing is read twice.
    """

    demonstrations: NDArray[np.int64]
    prompts: NDArray[np.int64]
    masks: int
    pool: int
    content_free: NDArray[np.int64]

    def read(self) -> float:
        """Every candidate of the pool once."""
        return self.pool * float(self.demonstrations.mean())

    def read_masked(self) -> float:
        """Every candidate of the pool once under each mask."""
        return self.masks * self.read()

    def read_all(self) -> float:
        """Every candidate of the pool and every item once."""
        return self.read() + float(self.prompts.sum())

    def read_content_free(self) -> float:
        """Every candidate of the pool once, each with the questions without content."""
        return self.read() + self.pool * float(self.content_free.mean())

    def trials(self, items: float) -> float:
        """Every candidate of the pool tried as the demonstration of `items` items: it once, and a prompt per pair."""
        return self._tried(self.pool, items)

    def shortlist(self, items: float) -> float:
        """Every candidate with the questions without content, then a quarter of them tried on 4 `items` items."""
        return self.read_content_free() + self.pool * items * float(self.prompts.mean())

    def halving(self, items: int) -> float:
        """Every candidate of the pool once, and a prompt per pair of sequential halving on half of the items."""
        half = len(self.prompts) - len(self.prompts) // 2
        pairs = sum(left * new for left, new in rounds(self.pool, items, half))
        return self.read() + pairs * float(self.prompts.mean())

    def lessons(self) -> float:
        """What a selector learns from: half of the study's candidates, tried on half of the items."""
        return self._tried(len(self.demonstrations) / 2, len(self.prompts) / 2)

    def all_pairs(self) -> float:
        """What a choice of the representation is learned from: the pool, tried on half of the items."""
        return self.trials(len(self.prompts) / 2)

    def _tried(self, candidates: float, items: float) -> float:
        return candidates * (float(self.demonstrations.mean()) + items * float(self.prompts.mean()))
