"""What a choice costs: the tokens that a model has to read forward before the first demonstration is chosen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tokens:
    """Tokens of every demonstration [C] and of every item's prompt without one [N], and how many attention masks are
    read under; `content_free` [C] are tokens of the questions without content behind each candidate.

    Answers, a few tokens each, are left out; nothing is read twice.
    """

    demonstrations: NDArray[np.int64]
    prompts: NDArray[np.int64]
    masks: int
    content_free: NDArray[np.int64]

    def read(self) -> float:
        """Every candidate once."""
        return float(self.demonstrations.sum())

    def read_masked(self) -> float:
        """Every candidate once under each mask."""
        return self.masks * self.read()

    def read_all(self) -> float:
        """Every candidate and every item once."""
        return self.read() + float(self.prompts.sum())

    def read_content_free(self) -> float:
        """Every candidate once, each with the questions without content."""
        return self.read() + float(self.content_free.sum())

    def trials(self, items: float, share: float = 1.0) -> float:
        """A `share` of the candidates tried as the demonstration of `items` items: each once, and a prompt per pair."""
        return share * (self.read() + len(self.demonstrations) * items * float(self.prompts.mean()))

    def shortlist(self, items: float) -> float:
        """Every candidate with the questions without content, then a quarter of them tried on 4 `items` items."""
        return self.trials(items) + float(self.content_free.sum())

    def lessons(self) -> float:
        """Half of the candidates tried on half of the items: what a selector learns from."""
        return self.trials(len(self.prompts) / 2, share=0.5)
