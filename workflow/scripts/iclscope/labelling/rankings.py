"""Which candidates to label first, before any has a label: sets of each budget by strategies that see no score.

A strategy is a function of the candidates' vectors [C, d], of length 1, how unsure the model is of each [C] before it
sees a demonstration (None where answers are generated), budgets and a seed. It returns members for every budget, None
if it lacks what it goes by.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from iclscope.labelling.pools import Ids
from iclscope.selection import diversity
from iclscope.statistics.ranks import Float

Sets = Mapping[int, Ids]
Strategy = Callable[[Float, Float | None, Sequence[int], int], Sets | None]


def k_centre(vectors: Float, unsure: Float | None, budgets: Sequence[int], seed: int) -> Sets:
    """As the selector of this name, with more candidates."""
    return _cut(diversity.k_centre(vectors, max(2, *budgets)), budgets)


def vote_k(vectors: Float, unsure: Float | None, budgets: Sequence[int], seed: int) -> Sets:
    """As the selector of this name, with more candidates."""
    return _cut(diversity.vote_k(vectors, max(budgets)), budgets)


def typiclust(vectors: Float, unsure: Float | None, budgets: Sequence[int], seed: int) -> Sets:
    """As the selector of this name, with as many clusters as there are labels: anew for each budget."""
    return {budget: _first(diversity.typiclust(vectors, seed, budget), budget) for budget in budgets}


def facility(vectors: Float, unsure: Float | None, budgets: Sequence[int], seed: int) -> Sets:
    """Facility location: one by one the candidate that makes all most similar to the nearest chosen one."""
    likeness = vectors @ vectors.T
    nearest = np.full(len(vectors), -1.0)
    chosen: list[int] = []
    for _ in range(max(budgets)):
        gain = np.maximum(likeness, nearest).sum(axis=1)
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        nearest = np.maximum(nearest, likeness[chosen[-1]])
    return {budget: np.array(chosen[:budget]) for budget in budgets}


def uncertain(vectors: Float, unsure: Float | None, budgets: Sequence[int], seed: int) -> Sets | None:
    """Those whose answer the model is least sure of, zero-shot."""
    return None if unsure is None else _cut(unsure, budgets)


def adaicl(vectors: Float, unsure: Float | None, budgets: Sequence[int], seed: int) -> Sets | None:
    """The centres of k-means among the half that the model is less sure of (Mavromatis et al. 2023, AdaICL-base)."""
    if unsure is None:
        return None
    hard = np.argsort(-unsure, kind="stable")[: max(max(budgets) + 1, -(-len(unsure) // 2))]
    return {budget: hard[_first(diversity.k_means(vectors[hard], seed, budget), budget)] for budget in budgets}


STRATEGIES: Mapping[str, Strategy] = {
    "k_centre": k_centre,
    "typiclust": typiclust,
    "vote_k": vote_k,
    "facility": facility,
    "uncertain": uncertain,
    "adaicl": adaicl,
}


def _cut(preference: Float, budgets: Sequence[int]) -> Sets:
    return {budget: _first(preference, budget) for budget in budgets}


def _first(preference: Float, budget: int) -> Ids:
    """The candidates with the highest preference [C], the best first."""
    return np.argsort(-preference, kind="stable")[:budget]
