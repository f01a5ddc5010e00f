"""Do the statistics find the truth? Repeated studies with planted answers, as the tables of docs/explanation/truth.md.

PYTHONPATH=workflow/scripts python tests/benchmarks/truth.py correlation|null|selection STUDIES

Correlation: ability of C candidates, scores of N items with reliability alpha, PLANTED signals that correlate with
ability as rho, all normal. Null: UNRELATED signals that do not. Selection: selectors instead of signals; the true gain
of a selector is its mean over all studies, since a gain on items that were not chosen on has no bias.
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
from iclscope.statistics.corrections import permute
from iclscope.statistics.intervals import Z_95, analytic_interval, disattenuate, fisher_interval
from iclscope.statistics.nested import best_of_grid
from iclscope.statistics.ranks import centred_ranks, spearman
from iclscope.statistics.reliability import cronbach_alpha
from iclscope.statistics.resampling import Weights, rho_spread

RHO, ALPHA, CANDIDATES = (0.0, 0.2, 0.4), (0.3, 0.7, 0.95), (100, 1000)
ITEMS = 40
PLANTED, UNRELATED = 5, 50
LEVEL = 0.05
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


def correlation_study(rho: float, alpha: float, candidates: int, seed: int, draws: int = 250) -> dict[str, float]:
    """One study: estimates of ceiling and rho, and how many of the intervals cover the truth."""
    rng, truth = np.random.default_rng(seed), Truth.of(rho, alpha)
    ability = rng.standard_normal(candidates)
    scores = scores_of(ability, ITEMS, alpha, rng)
    quality = centred_ranks(scores.mean(axis=1))
    planted = centred_ranks(signals_of(ability, rho, PLANTED, rng))
    found = cronbach_alpha(scores)
    estimate = spearman(planted, quality)
    spread = rho_spread(planted, scores, Weights.draw(candidates, np.arange(ITEMS), draws, rng))
    intervals = {
        "coverage": fisher_interval(estimate, Z_95 * spread),
        "analytic coverage": analytic_interval(estimate, candidates),
    }
    return {
        "ceiling": np.sqrt(max(found, 0)),
        "rho": estimate.mean(),
        "disattenuated": disattenuate(estimate, found).mean(),
        **{
            name: np.mean((low <= truth.with_quality) & (truth.with_quality <= high))
            for name, (low, high) in intervals.items()
        },
    }


def null_study(alpha: float, candidates: int, seed: int, permutations: int = 999, splits: int = 2) -> dict[str, float]:
    """One study without any effect: whether an alarm was raised, and the largest |rho| where chosen and where not."""
    rng = np.random.default_rng(seed)
    scores = scores_of(rng.standard_normal(candidates), ITEMS, alpha, rng)
    ranks, quality = centred_ranks(rng.standard_normal((UNRELATED, candidates))), centred_ranks(scores.mean(axis=1))
    null = permute(ranks, quality, permutations, rng)
    nested = best_of_grid(ranks, scores, np.arange(ITEMS), splits, rng)
    return {
        "family-wise error": float(null.p_maxt(spearman(ranks, quality)).min() <= LEVEL),
        "uncorrected": float(null.p().min() <= LEVEL),
        "largest rho": nested.chosen,
        "where not chosen": nested.held_out,
    }


def correlation_rows(studies: int) -> Iterator[dict[str, float]]:
    """A row per rho, alpha and number of candidates."""
    for candidates, alpha, rho in product(CANDIDATES, ALPHA, RHO):
        found = pl.DataFrame([correlation_study(rho, alpha, candidates, seed) for seed in range(studies)])
        truth = Truth.of(rho, alpha)
        mean = {name: float(np.nanmean(found[name].to_numpy())) for name in found.columns}
        yield {
            "C": candidates,
            "alpha": alpha,
            "planted rho": rho,
            "ceiling": truth.ceiling,
            "found": mean["ceiling"],
            "rho": truth.with_quality,
            "found ": mean["rho"],
            "without noise": truth.with_ability,
            "found  ": mean["disattenuated"],
            "coverage": mean["coverage"],
            "analytic": mean["analytic coverage"],
        }


def null_rows(studies: int) -> Iterator[dict[str, float]]:
    """A row per alpha and number of candidates, where nothing is related to quality."""
    for candidates, alpha in product(CANDIDATES, ALPHA):
        found = pl.DataFrame([null_study(alpha, candidates, seed) for seed in range(studies)])
        yield {"C": candidates, "alpha": alpha, **found.mean().row(0, named=True)}


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
    kind, studies = sys.argv[1:]
    make = {"correlation": correlation_rows, "null": null_rows, "selection": selection_rows}[kind]
    for line in table(make(int(studies))):
        print(line, flush=True)
