"""Are gains of selectors true? Repeated studies with planted answers, as a table of docs/explanation/truth.md.

PYTHONPATH=workflow/scripts python tests/benchmarks/truth.py STUDIES

The true gain of a selector is its mean over all studies, since a gain on items that were not chosen on has no bias.
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


def scores_of(ability: np.ndarray, items: int, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """Scores [C, N] of reliability `alpha`: ability, difficulty of the item, and noise."""
    noise = np.sqrt(items * (1 - alpha) / alpha)
    return ability[:, None] + rng.standard_normal(items) + noise * rng.standard_normal((len(ability), items))


def signals_of(ability: np.ndarray, rho: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Signals [count, C] that correlate with ability as `rho`."""
    return rho * ability + np.sqrt(1 - rho**2) * rng.standard_normal((count, len(ability)))


def selection_study(alpha: float, candidates: int, seed: int, splits: int = 20) -> pl.DataFrame:
    """One study: the selection table of selectors that know nothing, something, or the scores of some items."""
    rng = np.random.default_rng(seed)
    ability = rng.standard_normal(candidates)
    scores = scores_of(ability, ITEMS, alpha, rng)
    activation = centred_ranks(signals_of(ability, 0.0, METRICS, rng))
    activation[0] = centred_ranks(signals_of(ability, 0.4, 1, rng))[0]
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
    trial = replace(learned, selectors=[*known, *learned.selectors], fixed=fixed)
    named = kinds | {selector.name: "static" for selector in resolve(learning)}
    return trial.value(scores, Judge(named, POOL, trial.searches, *clusters, 100, seed))[0]


def selection_rows(studies: int) -> Iterator[dict[str, float | str]]:
    """A row per reliability, candidates of the study and selector."""
    for candidates, alpha in product(STUDIED, ALPHA):
        tables = pl.concat(selection_study(alpha, candidates, seed) for seed in range(studies))
        for (name,), mine in tables.group_by("selector", maintain_order=True):
            true = mine["gain"].mean()
            yield {
                "C": candidates,
                "alpha": alpha,
                "selector": name,
                "true gain": true,
                "spread": mine["gain"].std(),
                "standard error": float(np.sqrt((mine["standard_error"] ** 2).mean())),
                "coverage": float(mine.select((pl.col("low") <= true) & (pl.col("high") >= true)).mean().item()),
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
