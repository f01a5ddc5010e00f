"""Do statements about selectors, models and data sets hold where the truth is planted? Repeated studies, as tables.

PYTHONPATH=workflow/scripts python tests/benchmarks/truth_of_selectors.py TABLE STUDIES

Tables: power, coverage, clusters, best, picks, swap, pooled, ship. Beside each statement stands the one that it
replaces: the single pick of one pool, the choice on half of the items as a bound, normal tails of one pick, models
compared on the same items, every model of a data set counted as independent, the cheapest significant selector.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from scipy.stats import norm, rankdata

from iclscope.statistics.gains.agreement import TrueVariance, agreement_of
from iclscope.statistics.gains.best_possible import best_possible_gain
from iclscope.statistics.gains.decisions import decide, posterior
from iclscope.statistics.gains.pools import Gains, one_for_all, one_per_item, pick_p
from iclscope.statistics.signals.data_sets import pool
from truth import scores_of, signals_of, table

LEVEL, Z_95 = 0.05, float(norm.ppf(0.975))
ITEMS, ALPHA = 40, 0.7
SIZE, SIZES = 16, (4, 8, 16)  # candidates in the pools that users have
CANDIDATES = (48, 200, 1000)
SPLITS = 10


def alpha_of(scores: np.ndarray) -> float:
    """Cronbach's alpha."""
    items = scores.shape[1]
    return items / (items - 1) * (1 - scores.var(axis=0, ddof=1).sum() / scores.sum(axis=1).var(ddof=1))


def clusters_of(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every candidate and every item alone."""
    return np.arange(scores.shape[0]), np.arange(scores.shape[1])


def static(preferences: np.ndarray, scores: np.ndarray, sizes: Sequence[int]) -> Gains:
    """Gains of preferences [selectors, C] that no score has entered."""
    judges, tried = np.ones(scores.shape[1], dtype=bool), np.zeros(len(preferences))
    return one_for_all(preferences, scores, judges, sizes, alpha_of(scores), tried)


def power_study(rho: float, candidates: int, seed: int) -> np.ndarray:
    """One study with a selector that correlates with ability as `rho`: p of its single pick, and of pools."""
    rng = np.random.default_rng(seed)
    ability = rng.standard_normal(candidates)
    scores = scores_of(ability, ITEMS, ALPHA, rng)
    found = static(signals_of(ability, rho, 1, rng), scores, [*SIZES, candidates])
    errors = found.errors_of_chance(*clusters_of(scores))
    pick = 2 * norm.sf(abs(found.gain[0, -1]) / errors.total[0, -1])
    return np.array([pick, *errors.p(found.gain)[0, :-1]])


def power_rows(studies: int) -> Iterator[dict[str, float]]:
    """Share of studies in which a selector is found, a row per its correlation with ability and pool of the study."""
    for rho, candidates in product((0.0, 0.4), CANDIDATES):
        p = np.array([power_study(rho, candidates, seed) for seed in range(studies)])
        share = (p <= LEVEL).mean(axis=0)
        pools = {f"pools of {size}": found for size, found in zip(SIZES, share[1:], strict=True)}
        yield {"rho": rho, "C": candidates, "single pick": share[0], **pools}


def gain_study(candidates: int, alpha: float, sizes: Sequence[int], seed: int) -> Gains:
    """One study with selectors that know nothing, something, much, match items, or try candidates on items."""
    rng = np.random.default_rng(seed)
    ability = rng.standard_normal(candidates)
    scores = scores_of(ability, ITEMS, alpha, rng)
    known = np.concatenate([signals_of(ability, rho, 1, rng) for rho in (0.0, 0.4, 0.8)])
    matched = [
        one_per_item(signals_of(ability, rho, ITEMS, rng).T, scores, sizes, alpha_of(scores)) for rho in (0.0, 0.4)
    ]
    splits = []
    for _ in range(SPLITS):
        judges = rng.permutation(ITEMS) < ITEMS // 2
        chosen = scores[:, ~judges]
        tried = np.stack([chosen.mean(axis=1), chosen[:, :8].mean(axis=1)])
        splits.append(one_for_all(tried, scores, judges, sizes, alpha_of(scores), np.array([ITEMS / 2, 8])))
    return Gains.stack([static(known, scores, sizes), *matched, Gains.mean(splits)])


SELECTORS = ("unrelated", "related (0.4)", "related (0.8)", "per item, unrelated", "per item, related (0.4)")
SELECTORS += ("search with half of the items", "search_8")


def coverage_rows(
    studies: int, candidates: Sequence[int] = (48, 200), alphas: Sequence[float] = (0.1, 0.3, 0.7, 0.95)
) -> Iterator[dict[str, float | str]]:
    """Coverage of the interval of every selector's gain, a column per size of the pools."""
    for count, alpha in product(candidates, alphas):
        sizes = [4, 8, 16, count // 2]
        found = [gain_study(count, alpha, sizes, seed) for seed in range(studies)]
        gain = np.array([study.gain for study in found])
        errors = [study.errors(np.arange(count), np.arange(ITEMS)) for study in found]
        low, high = np.array([e.interval(g) for e, g in zip(errors, gain, strict=True)]).swapaxes(0, 1)
        true = gain.mean(axis=0)
        covered = ((low <= true) & (true <= high)).mean(axis=0)
        for name, mine, of in zip(SELECTORS, true, covered, strict=True):
            places = dict(zip(map(str, sizes[:3]), of, strict=False)) | {"half": of[3]}
            yield {"C": count, "alpha": alpha, "selector": name, f"gain at {SIZE}": mine[2], **places}


def clustered_study(candidates: int, seed: int, relation: float = 0.4) -> np.ndarray:
    """One study of fours of like candidates and of like items: is the gain in pools of 8 covered, told of them or not?

    Of the variance of ability, and of the signal, .8 is that of the four; half of the noise is that of four items.
    """
    rng = np.random.default_rng(seed)
    fours, passages = np.arange(candidates) // 4, np.arange(4 * ITEMS) // 4
    shared, own = rng.standard_normal((2, fours.max() + 1))[:, fours], rng.standard_normal((2, candidates))
    ability, other = np.sqrt(0.8) * shared + np.sqrt(0.2) * own
    noise = rng.standard_normal((candidates, ITEMS))[:, passages] + rng.standard_normal((candidates, len(passages)))
    scores = ability[:, None] + rng.standard_normal(len(passages)) + 3 * noise
    preference = relation * ability + np.sqrt(1 - relation**2) * other
    rank = (np.arange(20_000) + 0.5) / 20_000
    true = relation * np.mean(8 * rank**7 * norm.ppf(rank))
    covered = []
    for clusters in (clusters_of(scores), (fours, passages)):
        reliability = TrueVariance.of(scores, *clusters).reliability
        judges = np.ones(scores.shape[1], dtype=bool)
        found = one_for_all(preference[None], scores, judges, [8], reliability, np.zeros(1))
        low, high = found.errors(*clusters).interval(found.gain)
        covered.append(low.item() <= true <= high.item())
    return np.array(covered)


def clusters_rows(studies: int) -> Iterator[dict[str, float]]:
    """Coverage of a gain where candidates and items come in fours."""
    for candidates in (200, 400):
        covered = np.mean([clustered_study(candidates, seed) for seed in range(studies)], axis=0)
        yield {"C": candidates, "each alone": covered[0], "by clusters": covered[1]}


def best_rows(studies: int) -> Iterator[dict[str, float | str]]:
    """The expected maximum in pools of 16 and its estimate; beside it what the choice on half of the items gains."""
    rank = (np.arange(100_000) + 0.5) / 100_000
    shapes = {"normal": norm.ppf(rank), "bounded": 1 + np.log(rank)}
    for (shape, values), count, alpha in product(shapes.items(), (48, 200), (0.5, 0.7, 0.95)):
        true = float(np.mean(SIZE * rank ** (SIZE - 1) * values) - values.mean())
        rows, halves = [], []
        for seed in range(studies):
            rng = np.random.default_rng(seed)
            scores = scores_of(rng.choice(values, count), ITEMS, alpha, rng)
            judges = rng.permutation(ITEMS) < ITEMS // 2
            tried = scores[None, :, ~judges].mean(axis=2)
            halves.append(one_for_all(tried, scores, judges, [SIZE], 1.0, np.zeros(1)).gain.item())
            found = best_possible_gain(scores, [SIZE], *clusters_of(scores), 100, rng)
            if found.gain is not None:
                rows.append((found.gain.item(), float(found.low.item() <= true <= found.high.item())))
        gain, covered = np.mean(rows, axis=0) if rows else (np.nan, np.nan)
        yield {
            "shape": shape, "C": count, "alpha": alpha, "true": true, "chosen on half": float(np.mean(halves)),
            "found": gain, "coverage": covered, "said": len(rows) / studies,
        }  # fmt: skip


def picks_study(skewed: bool, candidates: int, seed: int, selectors: int = 38) -> tuple[bool, bool]:
    """One table of selectors that pick at random: does any look worse or better, by normal tails and by real ones?"""
    rng = np.random.default_rng(seed)
    ability = 1 - rng.exponential(size=candidates) if skewed else rng.standard_normal(candidates)
    scores = scores_of(ability, ITEMS, 0.95, rng)
    found = static(rng.random((selectors, candidates)), scores, [candidates])
    errors = found.errors_of_chance(*clusters_of(scores))
    normal = 2 * norm.sf(np.abs(found.gain) / errors.total)
    alarms = [selectors * p.min() <= LEVEL for p in (normal, pick_p(found.gain, errors, scores.mean(axis=1)))]
    return bool(alarms[0]), bool(alarms[1])


def picks_rows(studies: int) -> Iterator[dict[str, float | str]]:
    """Share of tables with a false alarm about a single pick, corrected for 38 selectors."""
    for skewed, candidates in product((False, True), (48, 200, 1000)):
        share = np.mean([picks_study(skewed, candidates, seed) for seed in range(studies)], axis=0)
        shape = "skewed" if skewed else "normal"
        yield {"quality": shape, "C": candidates, "normal tails": share[0], "tails of the candidates": share[1]}


def models_of(
    rho: float, alpha: float, shared: float, candidates: int, items: int, rng: np.random.Generator
) -> np.ndarray:
    """Scores [2, C, N] by two models: qualities correlate as `rho`, a `shared` part of the noise is the same."""
    first, other = rng.standard_normal((2, candidates))
    ability = np.stack([first, rho * first + np.sqrt(1 - rho**2) * other])
    noise = np.sqrt(1 - shared) * rng.standard_normal((2, candidates, items))
    noise += np.sqrt(shared) * rng.standard_normal((candidates, items))
    return ability[:, :, None] + rng.standard_normal(items) + np.sqrt(items * (1 - alpha) / alpha) * noise


def swap_study(
    rho: float, alpha: float, shared: float, seed: int, candidates: int = 200, effect: float = 0.2
) -> dict[str, float]:
    """One study: does quality survive the swap, by rank correlation on the same items and over disjoint ones?"""
    rng = np.random.default_rng(seed)
    first, second = models_of(rho, alpha, shared, candidates, 48, rng)
    ranks = [rankdata(scores.mean(axis=1)) for scores in (first, second)]
    same = np.corrcoef(*ranks)[0, 1]
    low = np.tanh(np.arctanh(same) - Z_95 * np.sqrt((1 + same**2 / 2) / (candidates - 3)))
    found = agreement_of(first, second, *clusters_of(first))
    defined = found.rho is not None
    return {
        "same items": float(low > effect),
        "disjoint items": float(defined and found.low > effect),
        "rho": found.rho if defined else np.nan,
        "coverage": float(found.low <= rho <= found.high) if defined else np.nan,
        "defined": float(defined),
    }


def swap_rows(studies: int) -> Iterator[dict[str, float]]:
    """Share of studies that say "survives", a row per true correlation, reliability and shared part of the noise."""
    for rho, alpha, shared in product((0.0, 0.6), (0.3, 0.5, 0.7, 0.95), (0.0, 0.7)):
        found = [swap_study(rho, alpha, shared, seed) for seed in range(studies)]
        mean = {name: float(np.nanmean([study[name] for study in found])) for name in found[0]}
        yield {"true rho": rho, "alpha": alpha, "shared noise": shared, **mean}


def pooled_study(data_sets: int, tau: float, seed: int, models: int = 2) -> tuple[bool, bool, bool]:
    """One study of atanh(rho) by `models` that err alike on each data set: are 0 and a further data set covered?"""
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.06, 0.14, data_sets + 1)
    covariance = errors[:, None, None] ** 2 * (0.8 + 0.2 * np.eye(models))
    own = np.stack([rng.multivariate_normal(np.zeros(models), part) for part in covariance])
    effects = own + tau * rng.standard_normal((data_sets + 1, 1)) + tau / 3 * rng.standard_normal(own.shape)
    low, high = of_settings(effects[:-1].ravel(), np.repeat(errors[:-1], models))
    # Of each data set the plain mean over models, whose errors go together.
    mean, variance = effects.mean(axis=1), covariance.mean(axis=(1, 2))
    found = pool(mean[None, :-1], variance[None, :-1])
    further = np.tanh(mean[-1])
    return low <= 0 <= high, found.low[0] <= 0 <= found.high[0], found.next_low[0] <= further <= found.next_high[0]


def of_settings(effects: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Interval of a random-effects mean over settings taken as independent (DerSimonian and Laird 1986)."""
    weight = 1 / errors**2
    fixed = (weight * effects).sum() / weight.sum()
    more = (weight * (effects - fixed) ** 2).sum() - (len(effects) - 1)
    tau2 = max(0.0, more / (weight.sum() - (weight**2).sum() / weight.sum()))
    weight = 1 / (errors**2 + tau2)
    mean, reach = (weight * effects).sum() / weight.sum(), Z_95 / np.sqrt(weight.sum())
    return mean - reach, mean + reach


def pooled_rows(studies: int) -> Iterator[dict[str, float]]:
    """Coverage of the pooled mean with two models on each data set, and of what a further data set shows."""
    for data_sets, tau in product((3, 4, 6), (0.0, 0.1, 0.3)):
        covered = np.mean([pooled_study(data_sets, tau, seed) for seed in range(studies)], axis=0)
        yield {
            "data sets": data_sets, "tau": tau, "settings as independent": covered[0],
            "data sets as the unit": covered[1], "a further data set": covered[2],
        }  # fmt: skip


COSTS = {"search_8": 20_000.0, "search_2": 5_000.0, "learned": 42_000.0, "read": 1_000.0}
PRICE = 2e-6  # of a token, in units of the score


def ship_study(candidates: int, seed: int, margin: float = 0.1) -> dict[str, float]:
    """One study with searches, a dear selector that learns, and twelve cheap ones; what each rule ships nets in truth.

    The true gain of a signal that correlates with ability as rho is rho times the expected maximum.
    """
    rng = np.random.default_rng(seed)
    ability = rng.standard_normal(candidates)
    scores = scores_of(ability, ITEMS, ALPHA, rng)
    cheap = np.where(rng.random(12) < 0.3, rng.uniform(-0.4, 0.4, 12), 0.0)
    rho = np.array([0.35, *cheap])
    sizes = [SIZE, candidates]
    preferences = np.concatenate([signals_of(ability, r, 1, rng) for r in rho])
    splits = []
    for _ in range(SPLITS):
        judges = rng.permutation(ITEMS) < ITEMS // 2
        chosen = scores[:, ~judges]
        tried = np.stack([chosen[:, :8].mean(axis=1), chosen[:, :2].mean(axis=1)])
        splits.append(one_for_all(tried, scores, judges, sizes, alpha_of(scores), np.array([8.0, 2.0])))
    found = Gains.stack([Gains.mean(splits), static(preferences, scores, sizes)])
    noise = ITEMS * (1 - ALPHA) / ALPHA
    seen = [1 / np.sqrt(1 + noise / tried) for tried in (8, 2)]
    best = norm.ppf((np.arange(20_000) + 0.5) / 20_000**1.0) @ np.diff(np.linspace(0, 1, 20_001) ** SIZE)
    net = best * np.array([*seen, *rho]) - PRICE * costs(len(cheap))
    rules = {"significant": significant(found, scores, margin), "posterior": believed(found, scores, rng)}
    lost = {name: max(net.max(), 0) - (0.0 if row is None else net[row]) for name, row in rules.items()}
    least = costs(len(cheap))[net.argmax()]
    dear = {
        f"{name}, worse and dearer": float(row is not None and net[row] < net.max() and costs(len(cheap))[row] > least)
        for name, row in rules.items()
    }
    return {"random": max(net.max(), 0), **lost, **dear}


def costs(cheap: int) -> np.ndarray:
    """Tokens that each selector of `ship_study` reads."""
    return np.array([COSTS["search_8"], COSTS["search_2"], COSTS["learned"], *[COSTS["read"]] * cheap])


def significant(found: Gains, scores: np.ndarray, margin: float) -> int | None:
    """The cheapest whose single pick beats random (Holm) and comes within the `margin` of the best of these."""
    errors = found.errors(*clusters_of(scores))
    gain = found.gain[:, 1]
    p = 2 * norm.sf(np.abs(gain) / errors.total[:, 1])
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    better = np.flatnonzero((corrected < LEVEL) & (gain > 0))
    if not len(better):
        return None
    enough = better[gain[better] >= gain[better].max() - margin]
    return int(enough[np.argmin(costs(len(gain) - 3)[enough])])


def believed(found: Gains, scores: np.ndarray, rng: np.random.Generator) -> int | None:
    """The largest posterior mean of the gain in pools of 16 minus the price of its tokens."""
    gains, covariance = found.at(SIZE).gain[:, 0], found.covariance(SIZE, *clusters_of(scores))
    return decide(posterior(gains, covariance, 2000, rng), costs(len(gains) - 3), PRICE).ship


def ship_rows(studies: int) -> Iterator[dict[str, float]]:
    """Mean net gain lost by random choice and by each rule, and how often it ships what is worse and dearer."""
    for candidates in CANDIDATES:
        found = [ship_study(candidates, seed) for seed in range(studies)]
        yield {"C": candidates, **{name: float(np.mean([study[name] for study in found])) for name in found[0]}}


TABLES = {
    "power": power_rows, "coverage": coverage_rows, "clusters": clusters_rows, "best": best_rows, "picks": picks_rows,
    "swap": swap_rows, "pooled": pooled_rows, "ship": ship_rows,
}  # fmt: skip


if __name__ == "__main__":
    kind, studies = sys.argv[1:]
    for line in table(TABLES[kind](int(studies))):
        print(line, flush=True)
