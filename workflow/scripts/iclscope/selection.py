"""What a selector is worth: the score of the demonstrations it picks, on items it has not seen, minus random.

Items are halved many times: a selector learns on one half and is judged on the other. Items of one cluster stay on
the same side. Candidates that a selector prefers equally share the pick.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from iclscope.errors import StudyError
from iclscope.logs import progress
from iclscope.picks import Half, OneForAll, Pick, Tally, pick, with_study
from iclscope.quality import SHIFTED, Scores, read_scores
from iclscope.reliability import cronbach_alpha
from iclscope.resampling import Float, Weights, generator, random_half, read_clusters
from iclscope.selectors import Materials, Selector, find
from iclscope.signals import read_features, read_metrics
from iclscope.tables import EMBEDDINGS, SAMPLE, SELECTION

logger = logging.getLogger(__name__)

SEARCHES = 4  # plain searches per split behind each point of the exchange rate
Z_95 = float(norm.ppf(0.975))


def run(
    *,
    evaluation: str | Path,
    metrics: Mapping[str, str | Path],
    features: str | Path,
    embeddings: str | Path,
    candidates: str | Path,
    items: str | Path,
    targets: Sequence[str],
    settings: Mapping[str, Any],
    seed: int,
    selection_out: str | Path,
    provenance: Mapping[str, Any],
) -> None:
    """Write the selection table of one model and data set.

    `metrics` maps each attention mask to its metric file; `candidates` and `items` are the samples; `targets` is the
    config's `quality.targets`, `settings` its `selection`.
    """
    selectors = [find(name) for name in dict.fromkeys(["random", "oracle", *settings["selectors"]])]
    scores = read_scores(evaluation, targets)
    shape = next(iter(scores.values())).matrix.shape
    materials = _read_materials(shape, metrics, features, embeddings, candidates, items)
    clusters = read_clusters(items, shape[1])
    rng = generator(seed, "selection halves")
    halves = [random_half(clusters, rng) for _ in range(settings["splits"])]
    draws = Weights.draw(shape[0], clusters, settings["bootstrap"], generator(seed, "selection bootstrap"))
    weights = with_study(draws)
    fixed = _picks_without_scores(selectors, materials, weights)
    valued: dict[str, tuple[str, pl.DataFrame]] = {}
    frames = []
    for target in progress(list(scores), description="selection", unit="targets"):
        base = SHIFTED.get(target, target)
        if base not in valued:
            valued[base] = target, value(selectors, fixed, scores[target].matrix, materials, halves, weights, seed)
        first, frame = valued[base]
        shift = _shift(scores, first, target, halves)
        frame = frame.with_columns(pl.lit(target).alias("target"), pl.col("value") + shift)
        frames.append(frame.filter(pl.col("selector").is_in(settings["selectors"])))
    SELECTION.write(pl.concat(frames).select(SELECTION.schema.names()), selection_out, provenance)


def value(
    selectors: Sequence[Selector],
    fixed: Mapping[str, Pick],
    scores: Float,
    materials: Materials,
    halves: Sequence[NDArray[np.bool_]],
    weights: Weights,
    seed: int,
) -> pl.DataFrame:
    """The selection table of one target, without its name; `selectors` must include random and oracle.

    `scores` is Y [C, N]; `fixed` holds the picks of selectors that do not learn; `halves` are the masks of the items
    that judge, split by split; row 0 of `weights` is the study itself. In a bootstrap draw a selector keeps the
    preference it has learned.
    """
    rngs = {selector.name: generator(seed, f"selector {selector.name}") for selector in selectors}
    tallies = {selector.name: Tally() for selector in selectors}
    search_rng = generator(seed, "exchange rate")
    most = scores.shape[1] // 2
    sizes = np.unique([*2 ** np.arange(int(np.log2(most)) + 1), most])
    curves, levels = [], []
    for judges in halves:
        half, chosen = Half.of(scores, judges, weights), scores[:, ~judges]
        for selector in selectors:
            picked = fixed.get(selector.name)
            if selector.learns:
                preference = selector.prefer(materials, chosen, rngs[selector.name])
                picked = None if preference is None else OneForAll(preference)
            if picked is not None:
                tallies[selector.name].add(picked.judge(half) - half.random)
        curves.append(search_curve(chosen, half, sizes, search_rng))
        levels.append(half.quality.mean())
    spread = float(scores.mean(axis=1).var(ddof=1))
    noise = 1 - float(np.clip(np.nan_to_num(cronbach_alpha(scores)), 0, 1))
    gains = {name: tally.gain for name, tally in tallies.items() if tally.splits}
    rows = [
        {
            "selector": selector.name,
            "kind": selector.kind,
            "value": np.mean(levels) + gains[selector.name],
            "gain": gains[selector.name],
            "regret": gains["oracle"] - gains[selector.name],
            "splits": len(halves),
            "standard_error": tallies[selector.name].standard_error(spread, noise),
            "search_items": search_items(gains[selector.name], sizes, np.mean(curves, axis=0)),
        }
        for selector in selectors
        if selector.name in gains
    ]
    return _with_intervals(pl.DataFrame(rows, schema={name: SELECTION.schema[name] for name in rows[0]}))


def search_curve(chosen: Float, half: Half, sizes: NDArray[np.int64], rng: np.random.Generator) -> Float:
    """Gain over random of the best candidate on K items of the half `chosen` [C, n], for every K of `sizes`."""
    values = np.zeros(len(sizes))
    for _ in range(SEARCHES):
        sums = np.cumsum(chosen[:, rng.permutation(chosen.shape[1])], axis=1)
        for place, size in enumerate(sizes):
            preference = sums[:, min(size, sums.shape[1]) - 1]
            values[place] += half.quality[preference == preference.max()].mean()
    return values / SEARCHES - half.quality.mean()


def search_items(gain: float, sizes: NDArray[np.int64], curve: Float) -> float | None:
    """The exchange rate: items that a plain search needs for `gain`, between the points of its `curve` of gains.

    0 for no gain at all; None where a search with half of all items gains less. More items never hurt a search, so
    that a dip of the curve is noise and is filled.
    """
    if gain <= 0:
        return 0.0
    gains, first = np.unique(np.maximum.accumulate([0.0, *curve]), return_index=True)
    return float(np.interp(gain, gains, np.array([0, *sizes])[first])) if gain <= gains[-1] else None


def holm(p: Float) -> Float:
    """p values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


def _with_intervals(frame: pl.DataFrame) -> pl.DataFrame:
    """Add low, high, p and p_holm; bounds are no competitors, and random has nothing to be compared with."""
    gain, error = frame["gain"].to_numpy(), frame["standard_error"].fill_null(np.nan).to_numpy()
    competes = (frame["kind"] != "bound").to_numpy() & np.isfinite(error)
    p, p_holm = np.full((2, len(gain)), np.nan)
    p[competes] = 2 * norm.sf(np.abs(gain[competes]) / error[competes])
    p_holm[competes] = holm(p[competes])
    columns = {"low": gain - Z_95 * error, "high": gain + Z_95 * error, "p": p, "p_holm": p_holm}
    return frame.with_columns(pl.Series(name, column).fill_nan(None) for name, column in columns.items())


def _picks_without_scores(selectors: Sequence[Selector], materials: Materials, weights: Weights) -> dict[str, Pick]:
    """Picks of the selectors that do not learn, made once; those that the data set cannot serve are left out."""
    picks = {}
    for selector in selectors:
        if selector.learns:
            continue
        preference = selector.prefer(materials, np.empty((materials.features.height, 0)), np.random.default_rng(0))
        if preference is None:
            logger.info("%s is left out: the data set lacks what it looks at", selector.name)
            continue
        picks[selector.name] = pick(preference, weights)
    return picks


def _shift(scores: Mapping[str, Scores], first: str, target: str, halves: Sequence[NDArray[np.bool_]]) -> float:
    """By how much values of `target` exceed those of `first`, which differs by a constant per item only."""
    constant = scores[target].matrix[0] - scores[first].matrix[0]
    return float(np.mean([constant[judges].mean() for judges in halves]))


def _read_materials(
    shape: tuple[int, int],
    metrics: Mapping[str, str | Path],
    features: str | Path,
    embeddings: str | Path,
    candidates: str | Path,
    items: str | Path,
) -> Materials:
    """Read what selectors may look at; refuse embeddings or texts of other candidates and items than were evaluated."""
    signals = read_metrics(metrics, shape[0])
    vectors, texts = EMBEDDINGS.read(embeddings).sort("id"), {}
    found = {}
    for role, path, size in (("candidate", candidates, shape[0]), ("item", items, shape[1])):
        mine = vectors.filter(pl.col("role") == role)
        texts[role] = SAMPLE.read(path, columns=["id", "question"]).sort("id")["question"].to_list()
        if mine["id"].to_list() != list(range(size)) or len(texts[role]) != size:
            raise StudyError(f"{embeddings} or {path} has another number of {role}s than the evaluation, {size}: rerun")
        found[role] = mine["vector"].explode().to_numpy().reshape(size, -1).astype(np.float64)
    return Materials(
        features=read_features(features, shape[0]),
        candidate_vectors=found["candidate"],
        item_vectors=found["item"],
        candidate_texts=texts["candidate"],
        item_texts=texts["item"],
        activation=signals.where(signals.defined).ranks,
    )
