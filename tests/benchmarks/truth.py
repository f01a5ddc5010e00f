"""Are gains of selectors true? Repeated studies with planted answers, as a table of docs/explanation/truth.md.

PYTHONPATH=workflow/scripts python tests/benchmarks/truth.py STUDIES

The true gain of a selector is its mean over all studies, since a gain on items that were not chosen on has no bias; of
rules that are learned it is what they gain among many other candidates.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import polars as pl

from iclscope.selection.selectors import Materials, Selector, resolve
from iclscope.selection.trial import Trial
from iclscope.selection.worth import Judge
from iclscope.statistics.gains.pools import favourite_chances
from iclscope.statistics.ranks import centred_ranks

ALPHA, ITEMS = (0.3, 0.7, 0.95), 40
STUDIED, POOL = (48, 200), 12  # candidates of a study of selectors, and of the pools that these choose from
METRICS = 20


class Truth(NamedTuple):
    """What holds in a simulated study: the ceiling, and Spearman's rho with ability and with observed quality."""

    ceiling: float
    with_ability: float
    with_quality: float

    @classmethod
    def of(cls, rho: float, alpha: float) -> "Truth":
        """Spearman's rho of a bivariate normal distribution is 6/pi asin(r/2) (Pearson 1907)."""
        spearmans = [6 / np.pi * np.arcsin(r / 2) for r in (rho, rho * np.sqrt(alpha))]
        return cls(np.sqrt(alpha), *map(float, spearmans))


def cronbach_alpha(scores: np.ndarray) -> float:
    """Cronbach's alpha of the candidates' mean scores, from `scores` [candidates, items] with at least 2 of each.

    N/(N-1) * (1 - sum of the items' variances / variance of the candidates' sums) (Cronbach 1951, Psychometrika 16);
    for scores of 0 and 1 this is KR-20 (Kuder and Richardson 1937). May be negative; NaN if all sums are equal.
    """
    items = scores.shape[1]
    total = scores.sum(axis=1).var(ddof=1)
    if total == 0:
        return np.nan
    return float(items / (items - 1) * (1 - scores.var(axis=0, ddof=1).sum() / total))


def weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Centred ranks of `values` [C] when value c counts `weights[c]` times; equal values share their average rank."""
    _, group = np.unique(values, return_inverse=True)
    total = np.bincount(group, weights=weights)
    below = np.cumsum(total) - total
    return (below + total / 2)[group] - weights.sum() / 2


def scores_of(ability: np.ndarray, items: int, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """Scores [C, N] of reliability `alpha`: ability, difficulty of the item, and noise."""
    noise = np.sqrt(items * (1 - alpha) / alpha)
    return ability[:, None] + rng.standard_normal(items) + noise * rng.standard_normal((len(ability), items))


def signals_of(ability: np.ndarray, rho: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Signals [count, C] that correlate with ability as `rho`."""
    return rho * ability + np.sqrt(1 - rho**2) * rng.standard_normal((count, len(ability)))


class Population:
    """Many candidates like those of a study: what a preference that was learned from signals gains in truth."""

    def __init__(self, size: int = 20_000) -> None:
        rng = np.random.default_rng(0)
        self.ability = rng.standard_normal(size)
        self.ranks = ranks_of_signals(self.ability, rng)
        self.chances = favourite_chances(size, POOL)

    def gain(self, preference: np.ndarray, ranks: np.ndarray) -> float:
        """Gain in pools of a preference [C], linear in `ranks` [signals, C], which offers some of the candidates."""
        offered = preference > -np.inf
        rows = np.vstack([ranks, np.ones(len(offered))])[:, offered]
        weights = np.linalg.lstsq(rows.T, preference[offered], rcond=None)[0][:-1]
        order = np.argsort(-(weights @ self.ranks), kind="stable")
        return float(self.chances @ self.ability[order] - self.ability.mean())


def ranks_of_signals(ability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Centred ranks of activation signals [METRICS, C], a share of C each; one correlates with ability as 0.4."""
    ranks = centred_ranks(signals_of(ability, 0.0, METRICS, rng))
    ranks[0] = centred_ranks(signals_of(ability, 0.4, 1, rng))[0]
    return ranks / len(ability)


def watched(selector: Selector, seen: list[np.ndarray]) -> Selector:
    """The selector, with every preference that it learns added to `seen`."""

    def prefer(*given: object) -> np.ndarray:
        seen.append(selector.prefer(*given))
        return seen[-1]

    return replace(selector, prefer=prefer)


def selection_study(alpha: float, candidates: int, seed: int, population: Population, splits: int = 20) -> pl.DataFrame:
    """One study: the selection table of selectors that know nothing, something, or the scores of some items.

    `true` is what the rules gain that were learned from other candidates in this very study.
    """
    rng = np.random.default_rng(seed)
    ability = rng.standard_normal(candidates)
    scores = scores_of(ability, ITEMS, alpha, rng)
    activation = ranks_of_signals(ability, rng)
    fixed = {
        "unrelated": rng.standard_normal(candidates),
        "related (0.4)": signals_of(ability, 0.4, 1, rng)[0],
        "per item, unrelated": rng.standard_normal((candidates, ITEMS)),
        "per item, related (0.4)": signals_of(ability, 0.4, ITEMS, rng).T,
    }
    features = pl.DataFrame({"length": [1] * candidates})
    materials = Materials(features, *(None,) * 4, activation, np.array(["m"] * METRICS))
    clusters = np.arange(candidates), np.arange(ITEMS)
    learning = ["search_half", "search_8", "activation", "ridge"]
    learned = Trial.of({"selectors": learning, "splits": splits, "pool": POOL}, materials, clusters[1], seed)
    kinds = {name: "query" if name.startswith("per item") else "static" for name in fixed}
    known = [Selector(name, lambda *_: None, kind) for name, kind in kinds.items()]
    rules: dict[str, list[np.ndarray]] = {"activation": [], "ridge": []}
    learners = [watched(s, rules[s.name]) if s.name in rules else s for s in learned.selectors]
    trial = replace(learned, selectors=[*known, *learners], fixed=fixed)
    named = kinds | {selector.name: "static" for selector in resolve(learning)}
    frame = trial.value(scores, Judge(named, POOL, trial.searches, *clusters, 100, seed))[0]
    true = {name: np.mean([population.gain(rule, activation) for rule in seen]) for name, seen in rules.items()}
    return frame.with_columns(true=pl.col("selector").replace_strict(true, default=None, return_dtype=pl.Float64))


def coverage(tables: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame, float]]:
    """Each selector with its rows and the share of intervals that hold its true gain.

    A gain on items that were not chosen on has no bias: where the rule is the same in all studies, its mean is true.
    """
    for (name,), mine in tables.group_by("selector", maintain_order=True):
        true = mine["true"].fill_null(mine["gain"].mean())
        yield name, mine, float(((mine["low"] <= true) & (mine["high"] >= true)).mean())


def selection_rows(studies: int) -> Iterator[dict[str, float | str]]:
    """A row per reliability, candidates of the study and selector."""
    population = Population()
    for candidates, alpha in product(STUDIED, ALPHA):
        tables = pl.concat(selection_study(alpha, candidates, seed, population) for seed in range(studies))
        for name, mine, covered in coverage(tables):
            yield {
                "C": candidates,
                "alpha": alpha,
                "selector": name,
                "gain": mine["gain"].mean(),
                "true": mine["true"].fill_null(mine["gain"].mean()).mean(),
                "spread": (mine["gain"] - mine["true"].fill_null(mine["gain"].mean())).std(),
                "standard error": float(np.sqrt((mine["standard_error"] ** 2).mean())),
                "coverage": covered,
            }


def table(rows: Iterator[dict[str, float | str]]) -> Iterator[str]:
    """The rows in Markdown, one by one as they come."""
    for number, row in enumerate(rows):
        if not number:
            yield f"| {' | '.join(name.strip() for name in row)} |"
            yield "|---" * len(row) + "|"
        cells = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()]
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for line in table(selection_rows(int(sys.argv[1]))):
        print(line, flush=True)
