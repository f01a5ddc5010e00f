"""Is what is said of signals true? Repeated studies with planted answers: error rates before and after, and coverage.

PYTHONPATH=workflow/scripts python tests/benchmarks/truth_of_signals.py TABLE STUDIES

TABLE is items, clusters, useless, study, labels, reliability, winner, pooled, power or incremental.
"Of candidates" is the usual test, which permutes candidates and takes items for fixed, within one table.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from scipy.stats import norm

from iclscope.statistics.partial import Confounders
from iclscope.statistics.ranks import centred_ranks, unit
from iclscope.statistics.signals import power
from iclscope.statistics.signals.chosen import winner
from iclscope.statistics.signals.data_sets import pool
from iclscope.statistics.signals.generalisability import noise_of
from iclscope.statistics.signals.incremental import incremental_value
from iclscope.statistics.signals.latent import SMALL, USELESS, latent_interval, of_family, statuses, too_small
from iclscope.statistics.signals.shuffles import Shuffles, p_of_largest, permute
from iclscope.statistics.signals.studentised import Assessed, ItemDraws, assess
from truth import Truth, cronbach_alpha, table

LEVEL, SMALLEST, LEAST_CEILING = 0.05, 0.2, 0.5
PERMUTATIONS, DRAWS = 299, 150
NORMAL_QUANTILES = norm.ppf((np.arange(200) + 0.5) / 200)


@dataclass(frozen=True)
class Design:
    """A study's sizes, its reliability, and what is planted in it.

    `rho` is what the second signal's correlation with ability is, `along` the share of the interaction that goes along
    with the first signal; `twins` candidates share a passage and `icc` of what they are.
    """

    candidates: int = 100
    items: int = 40
    alpha: float = 0.7
    signals: int = 20
    rho: float = 0.0
    along: float = 0.0
    twins: int = 1
    icc: float = 0.0

    @property
    def passages(self) -> np.ndarray | None:
        """Cluster of every candidate [C], None where each is alone."""
        return None if self.twins == 1 else np.arange(self.candidates) // self.twins

    def of_candidates(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Standard normal values [count, C], of which twins share `icc`."""
        shared = rng.standard_normal((count, self.candidates))[:, np.arange(self.candidates) // self.twins]
        return np.sqrt(self.icc) * shared + np.sqrt(1 - self.icc) * rng.standard_normal((count, self.candidates))

    def make(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Ranks of the signals [signals, C] and scores [C, N]."""
        ability = self.of_candidates(rng, 1)[0]
        values = self.of_candidates(rng, self.signals)
        noise = np.sqrt(self.items * (1 - self.alpha) / self.alpha)
        direction = values[0][:, None] * rng.standard_normal(self.items)
        rest = rng.standard_normal((self.candidates, self.items))
        interaction = np.sqrt(self.along) * direction + np.sqrt(1 - self.along) * rest
        if self.rho:
            values[1] = self.rho * ability + np.sqrt(1 - self.rho**2) * values[1]
        scores = ability[:, None] + rng.standard_normal(self.items) + noise * interaction
        return centred_ranks(values), scores


def assessed(
    ranks: np.ndarray,
    scores: np.ndarray,
    seed: int,
    passages: np.ndarray | None = None,
    basis: np.ndarray | None = None,
) -> tuple[Assessed, ItemDraws]:
    """Signals as they are assessed now."""
    items = np.arange(scores.shape[1])
    draws = ItemDraws.of(scores, items, DRAWS, np.random.default_rng(seed), passages)
    assert draws is not None
    return assess(ranks, draws, Shuffles(len(scores), PERMUTATIONS, seed, passages), basis), draws


def p_of_candidates(ranks: np.ndarray, scores: np.ndarray, seed: int) -> np.ndarray:
    """Corrected p of every signal by permuting candidates, as if items were fixed."""
    rows, target = unit(ranks).astype(np.float32), unit(centred_ranks(scores.mean(axis=1)))
    shuffles = Shuffles(len(scores), PERMUTATIONS, seed)
    error = shuffles.error(rows, target)
    statistic = np.abs(np.arctanh(rows @ target)) / error
    return p_of_largest(statistic, [permute(rows, target, shuffles, statistic, error).largest])


def p_now(found: Assessed) -> np.ndarray:
    """Corrected p of every signal of one table."""
    return p_of_largest(found.statistic, [found.null.largest])


def null_or_planted(design: Design, seed: int) -> dict[str, float]:
    """Whether any signal without an effect is called one, and whether the planted one is found."""
    rng = np.random.default_rng(seed)
    ranks, scores = design.make(rng)
    before, now = p_of_candidates(ranks, scores, seed), p_now(assessed(ranks, scores, seed, design.passages)[0])
    null = np.arange(design.signals) != (1 if design.rho else -1)
    rows = {"error, of candidates": (before[null] <= LEVEL).any(), "error": (now[null] <= LEVEL).any()}
    planted = {"found, of candidates": before[1] <= LEVEL, "found": now[1] <= LEVEL}
    return {name: float(value) for name, value in (rows | (planted if design.rho else {})).items()}


def useless(design: Design, seed: int) -> dict[str, float]:
    """Estimates of a signal with an effect, whether it is said to have none, and whether the intervals hold."""
    rng = np.random.default_rng(seed)
    ranks, scores = design.make(rng)
    found, draws = assessed(ranks, scores, seed)
    truth = Truth.of(design.rho, design.alpha)
    ceiling = float(np.sqrt(max(draws.noise.alpha, 0)))
    low, high = found.spread.interval(found.rho)
    latent, narrow = (latent_interval(found.rho, found.spread, draws.noise, level) for level in (0.95, 0.9))
    none = np.ones(len(found.rho))
    said = statuses(none, none, too_small(narrow, ceiling, SMALLEST, LEAST_CEILING))
    return {
        "ceiling": ceiling,
        "rho found": float(found.rho[1]),
        "without noise": float(latent.value[1]),
        "no use": float(said[1] == USELESS),
        "rho covered": float(low[1] <= truth.with_quality <= high[1]),
        "without noise covered": float(latent.low[1] <= truth.with_ability <= latent.high[1]),
    }


def study_of_nothing(design: Design, seed: int, models: int = 2, data_sets: int = 4) -> dict[str, float]:
    """Whether any table of a study is said to have a finding: each for itself, and as one family."""
    single, least = [], 1.0
    for number in range(models * data_sets):
        ranks, scores = design.make(np.random.default_rng([seed, number]))
        single.append(p_of_candidates(ranks, scores, seed).min())
        least = min(least, p_now(assessed(ranks, scores, seed)[0]).min() * models * data_sets)
    return {"error, of candidates": float(min(single) <= LEVEL), "error": float(least <= LEVEL)}


def labels(beyond: float, seed: int, candidates: int = 150, items: int = 40) -> dict[str, float]:
    """Quality and signals both follow the label; one signal also follows what the label leaves, as `beyond` says."""
    rng = np.random.default_rng(seed)
    label, rest = rng.integers(0, 3, candidates), rng.standard_normal(candidates)
    level = np.array([-1.2, 0.0, 1.2])[label]
    values = 0.8 * level + rng.standard_normal((20, candidates))
    values[0] = 0.8 * level + beyond * rest + np.sqrt(1 - beyond**2) * values[0]
    noise = np.sqrt(items * 0.3 / 0.7)
    scores = (level + rest)[:, None] + noise * rng.standard_normal((candidates, items))
    ranks = centred_ranks(values)
    basis = Confounders.of([(label == number).astype(float) for number in range(3)], candidates).basis
    raw, partial_ = assessed(ranks, scores, seed)[0], assessed(ranks, scores, seed, basis=basis)[0]
    null = slice(1, None)
    return {
        "related, of candidates": float((p_of_candidates(ranks, scores, seed)[null] <= LEVEL).any()),
        "uncorrected partial p": float((partial_.null.p()[null] <= LEVEL).any()),
        "predicts": float(((p_now(raw) <= LEVEL) & (p_now(partial_) <= LEVEL))[null].any()),
        "planted found": float(p_now(partial_)[0] <= LEVEL),
    }


def reliability(
    alpha: float, candidates: int, clusters: int, icc: float, seed: int, items: int = 48
) -> dict[str, float]:
    """Reliability as it is said and its interval, where items come in `clusters` that share `icc` of the noise."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(items) * clusters // items
    shared = rng.standard_normal((candidates, clusters))[:, cluster]
    noise = np.sqrt(icc) * shared + np.sqrt(1 - icc) * rng.standard_normal((candidates, items))
    scale = np.sqrt((1 - alpha) / alpha / (icc / clusters + (1 - icc) / items))
    scores = rng.standard_normal(candidates)[:, None] + rng.standard_normal(items) + scale * noise
    found = noise_of(scores, cluster)
    assert found is not None
    low, high = found.alpha_interval()
    return {"Cronbach": cronbach_alpha(scores), "found": found.alpha, "covered": float(low <= alpha <= high)}


def strongest(design: Design, planted: int, seed: int) -> dict[str, float]:
    """What the strongest signal is worth, and owes to having been chosen; the first `planted` ones have `rho`."""
    rng = np.random.default_rng(seed)
    ability = rng.standard_normal(design.candidates)
    values = rng.standard_normal((design.signals, design.candidates))
    values[:planted] = design.rho * ability + np.sqrt(1 - design.rho**2) * values[:planted]
    noise = np.sqrt(design.items * (1 - design.alpha) / design.alpha)
    scores = ability[:, None] + noise * rng.standard_normal((design.candidates, design.items))
    ranks = centred_ranks(values)
    best = winner(ranks, assessed(ranks, scores, seed)[0])
    assert best is not None
    truth = Truth.of(design.rho, design.alpha).with_quality if best.signal < planted else 0.0
    return {
        "true luck": abs(best.rho) - np.sign(best.rho) * truth,
        "luck found": best.luck,
        "told too large": float(best.luck > abs(best.rho) - np.sign(best.rho) * truth),
        "covered": float(best.low <= truth <= best.high),
    }


def pooled(tau: float, data_sets: int, seed: int, models: int = 2) -> dict[str, float]:
    """A feature whose correlation differs by data set as `tau`, seen by models that share candidates and items."""
    design = Design()
    rng = np.random.default_rng(seed)
    z, errors = np.empty((2, data_sets, models))
    for data_set in range(data_sets):
        rho = np.tanh(0.3 + tau * rng.standard_normal())
        feature, own = rng.standard_normal((2, design.candidates))
        ability = rho * feature + np.sqrt(1 - rho**2) * own
        noise = np.sqrt(design.items * 0.1 / 0.9)
        for model in range(models):
            scores = ability[:, None] + noise * rng.standard_normal((design.candidates, design.items))
            found, _ = assessed(centred_ranks(feature[None]), scores, seed)
            z[data_set, model], errors[data_set, model] = np.arctanh(found.rho[0]), found.spread.error[0]
    truth = np.arctanh(np.mean([Truth.of(np.tanh(0.3 + tau * x), 0.9).with_quality for x in NORMAL_QUANTILES]))
    alone = 1.96 / np.sqrt((1 / errors**2).sum())
    found = pool(z.mean(axis=1)[None], errors.mean(axis=1)[None] ** 2)
    assert found is not None
    return {
        "covered, all independent": float(abs(z.mean() - truth) <= alone),
        "covered": float(np.arctanh(found.low[0]) <= truth <= np.arctanh(found.high[0])),
    }


def powerful(design: Design, seed: int) -> dict[str, float]:
    """Whether the planted signal is found and, where there is none, a useful effect excluded; and the forecasts."""
    rng = np.random.default_rng(seed)
    ranks, scores = design.make(rng)
    found, draws = assessed(ranks, scores, seed)
    narrow = latent_interval(found.rho, found.spread, draws.noise, 0.9)
    p = p_now(found)
    small = too_small(narrow, float(np.sqrt(max(draws.noise.alpha, 0))), SMALLEST, LEAST_CEILING)
    said = of_family(statuses(p, p, small))
    rest = design.items * (1 - design.alpha) / design.alpha
    plan = power.Plan(1.0, rest, design.signals, SMALLEST, LEAST_CEILING)
    sizes = np.array(design.candidates), np.array(design.items)
    effect = Truth.of(design.rho, 1.0).with_ability
    if design.rho:
        return {"simulated": float(p[1] <= LEVEL), "forecast": float(power.detect(plan, *sizes, effect))}
    return {"simulated": float(said in (USELESS, SMALL)), "forecast": float(power.exclude(plan, *sizes))}


def incremental(share: float, seed: int, candidates: int = 100, items: int = 40) -> dict[str, float]:
    """Gain of activations that hold `share` of ability, beside a cheap feature that holds .3 of it."""
    rng = np.random.default_rng(seed)
    cheap, hidden = rng.standard_normal((candidates, 3)), rng.standard_normal(candidates)
    ability = (
        np.sqrt(0.3) * cheap[:, 0] + np.sqrt(share) * hidden + np.sqrt(0.7 - share) * rng.standard_normal(candidates)
    )
    values = (0.6 * hidden if share else 0) + 0.3 * cheap[:, 0] + 0.7 * rng.standard_normal((30, candidates))
    scores = ability[:, None] + np.sqrt(items * 0.2 / 0.8) * rng.standard_normal((candidates, items))
    found = incremental_value(cheap, centred_ranks(values), scores, np.arange(items), 2, rng)
    assert found is not None
    return {"cheap": found.cheap, "gain": found.gain, "error": found.error, "above 0": float(found.low > 0)}


Study = Callable[[int], dict[str, float]]

TABLES: dict[str, list[tuple[dict[str, float], Study]]] = {
    "items": [
        (
            {"C": d.candidates, "N": d.items, "alpha": d.alpha, "along": d.along, "rho": d.rho},
            partial(null_or_planted, d),
        )
        for d in (
            Design(150, 48, 0.7, 50, along=0.1),
            Design(500, 48, 0.7, 50, along=0.1),
            Design(1000, 500, 0.98, 20, along=0.7),
            Design(300, 24, 0.7, 50, along=0.5),
            Design(150, 48, 0.7, 50),
            Design(150, 48, 0.7, 50, rho=0.4),
            Design(300, 48, 0.7, 50, rho=0.35),
        )
    ],
    "clusters": [
        ({"C": d.candidates, "twins": d.twins, "icc": d.icc, "rho": d.rho}, partial(null_or_planted, d))
        for d in (
            Design(twins=2, icc=0.7, candidates=200),
            Design(twins=4, icc=0.7, candidates=200),
            Design(twins=4, icc=0.7, candidates=200, rho=0.5),
        )
    ],
    "useless": [
        ({"C": c, "alpha": a, "rho": r}, partial(useless, Design(c, alpha=a, rho=r, signals=2)))
        for c in (100, 400)
        for a in (0.1, 0.3, 0.5, 0.9)
        for r in (0.0, 0.209, 0.3)
    ],
    "study": [({"models": 2, "data sets": 4}, partial(study_of_nothing, Design()))],
    "labels": [({"beyond": b}, partial(labels, b)) for b in (0.0, 0.4)],
    "reliability": [
        ({"alpha": a, "C": c, "clusters": k, "icc": i}, partial(reliability, a, c, k, i))
        for a, c, k, i in (
            (0.1, 48, 48, 0.0), (0.3, 100, 48, 0.0), (0.7, 100, 48, 0.0), (0.95, 300, 48, 0.0),
            (0.29, 100, 12, 0.5), (0.5, 300, 12, 0.5),
        )
    ],
    "winner": [
        ({"signals": d.signals, "planted": k, "rho": d.rho, "alpha": d.alpha}, partial(strongest, d, k))
        for d, k in (
            (Design(signals=50), 0), (Design(signals=50, rho=0.5), 1), (Design(signals=50, rho=0.5), 10),
            (Design(signals=50, rho=0.6, alpha=0.3), 5), (Design(300, signals=50, rho=0.3), 5),
            (Design(signals=1000), 0), (Design(signals=4000), 0), (Design(signals=1000, rho=0.6), 5),
            (Design(300, signals=4000, rho=0.35), 20),
        )
    ],
    "pooled": [({"tau": t, "data sets": k}, partial(pooled, t, k)) for t, k in ((0.0, 4), (0.1, 3), (0.2, 6))],
    "power": [
        ({"C": d.candidates, "N": d.items, "alpha": d.alpha, "signals": d.signals, "rho": d.rho}, partial(powerful, d))
        for d in (
            Design(100, rho=0.45), Design(150, alpha=0.5, rho=0.45), Design(200, 30, 0.8, rho=0.25),
            Design(300, alpha=0.7, signals=3), Design(300, alpha=0.5, signals=3), Design(400, alpha=0.8, signals=10),
            Design(250, alpha=0.35, signals=1),
        )
    ],
    "incremental": [({"share": s}, partial(incremental, s)) for s in (0.0, 0.2, 0.5)],
}  # fmt: skip


def rows(name: str, studies: int) -> Iterator[dict[str, float | str]]:
    """A row of the table per planted answer: means over studies, and of gains how often intervals hold their mean."""
    columns = [column for _, study in TABLES[name] for column in study(0)]
    for planted, study in TABLES[name]:
        found = pl.DataFrame([study(seed) for seed in range(studies)])
        mean = dict.fromkeys(columns, "") | {column: float(found[column].mean()) for column in found.columns}
        if name == "incremental":
            mean |= {"spread of gain": float(found["gain"].std())}
        yield {**planted, **mean}


if __name__ == "__main__":
    for line in table(rows(sys.argv[1], int(sys.argv[2]))):
        print(line, flush=True)
