"""What a selector is worth: the score of the demonstrations it picks, on items it has not seen, minus random.

Items are halved many times: a selector learns on one half and is judged on the other. Items of one cluster stay on
the same side. Candidates that a selector prefers equally share the pick.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from iclscope.matrix.quality import SHIFTED, Scores, read_scores
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.logs import progress
from iclscope.selection.costs import Tokens
from iclscope.selection.picks import TOP, ByChance, Half, OneForAll, OnePerItem, Pick, Tally, shares, with_study
from iclscope.selection.selectors import Lesson, Materials, Selector, resolve
from iclscope.signals.grid import read_features, read_metrics
from iclscope.statistics.corrections import holm
from iclscope.statistics.intervals import TINY, Z_95
from iclscope.statistics.ranks import Float
from iclscope.statistics.reliability import cronbach_alpha
from iclscope.statistics.resampling import Weights, generator, random_half
from iclscope.tables import ACTIVATIONS, EMBEDDINGS, EVALUATION, SAMPLE, SELECTION, ZERO_SHOT
from iclscope.tasks.samples import read_clusters

logger = logging.getLogger(__name__)

SEARCHES = 4  # plain searches per split behind each point of the exchange rate


@dataclass(frozen=True)
class Files:
    """What selectors look at and are judged by: `metrics` maps each mask to its file, `candidates` and `item_rows` are
    the samples, `activations` those under the model's own mask where a probe reads them.
    """

    evaluation: str | Path
    metrics: Mapping[str, str | Path]
    features: str | Path
    embeddings: str | Path
    candidates: str | Path
    item_rows: str | Path
    activations: str | Path | None = None


def run(
    *, files: Files, targets: Sequence[str], settings: Mapping[str, Any], selection_out: str | Path, job: Job
) -> None:
    """Write the selection table of one model and data set.

    `targets` is the config's `quality.targets`, `settings` its `selection`. The evaluation says how many items there
    are: where it stopped early, only the first ones of the samples count.
    """
    resolve(settings["selectors"])  # refuses an unknown name before anything is read
    scores = read_scores(files.evaluation, targets)
    shape = next(iter(scores.values())).matrix.shape
    materials = _read_materials(files, shape, settings.get("probe"))
    named = resolve(settings["selectors"], list(dict.fromkeys(materials.metrics.tolist())))
    selectors = list({s.name: s for s in [*named, *resolve(["random", "oracle"])]}.values())
    clusters = read_clusters(files.item_rows, shape[1])
    rng = generator(job.seed, "selection halves")
    judging = np.stack([random_half(clusters, rng) for _ in range(settings["splits"])])
    weights = with_study(
        Weights.draw(shape[0], clusters, settings["bootstrap"], generator(job.seed, "selection bootstrap"))
    )
    fixed = _picks_without_scores(selectors, materials, weights, job.seed)
    trial = Trial(selectors, fixed, materials, judging, weights, job.seed)
    tokens = _read_tokens(files.evaluation, materials.features, len(files.metrics))
    costs = pl.DataFrame(
        [(s.name, s.cost(tokens)) for s in selectors], {"selector": pl.String, "cost": pl.Float64}, orient="row"
    )
    valued: dict[str, tuple[str, pl.DataFrame]] = {}
    frames = []
    for target in progress(list(scores), description="selection", unit="targets"):
        base = SHIFTED.get(target, target)
        if base not in valued:
            valued[base] = target, trial.value(scores[target].matrix)
        first, frame = valued[base]
        shift = _shift(scores, first, target, judging)
        frame = frame.with_columns(pl.lit(target).alias("target"), pl.col("value") + shift)
        frame = frame.join(costs, on="selector", how="left", maintain_order="left")
        frames.append(frame.filter(pl.col("selector").is_in([s.name for s in named])))
    SELECTION.write(pl.concat(frames).select(SELECTION.schema.names()), selection_out, job.provenance)


@dataclass(frozen=True)
class Trial:
    """How selectors are compared, whatever the target; `selectors` must include random and oracle.

    `fixed` holds the picks of selectors that do not learn; `judging` [splits, N] says which items judge; row 0 of
    `weights` is the study itself. In a bootstrap draw a selector keeps the preference it has learned.
    """

    selectors: Sequence[Selector]
    fixed: Mapping[str, Pick]
    materials: Materials
    judging: NDArray[np.bool_]
    weights: Weights
    seed: int

    def value(self, scores: Float) -> pl.DataFrame:
        """The selection table of the target with `scores` Y [C, N], without its name and without costs."""
        rngs = {selector.name: generator(self.seed, f"selector {selector.name}") for selector in self.selectors}
        teacher_rng, search_rng = generator(self.seed, "teachers"), generator(self.seed, "exchange rate")
        tallies = {selector.name: Tally() for selector in self.selectors}
        sizes = _search_sizes(scores.shape[1] // 2)
        curves, levels, random = [], [], []
        for judges in self.judging:
            half = Half.of(scores, judges, self.weights)
            teachers = teacher_rng.permutation(len(scores)) < len(scores) // 2
            labels = self.materials.item_labels
            known = None if labels is None else labels[~judges]
            lesson = Lesson(self.materials, scores[:, ~judges], teachers, known)
            for selector in self.selectors:
                picked = self._pick(selector, lesson, rngs[selector.name])
                if picked is not None:
                    tallies[selector.name].add(picked, half)
            curves.append(search_curve(lesson.scores, half, sizes, search_rng))
            levels.append(half.quality.mean())
            random.append(half.random)
        for name, picks in self.fixed.items():
            if isinstance(picks, OnePerItem):
                tallies[name] = picks.tally(scores, self.judging, self.weights, random)
        known = {name: tally for name, tally in tallies.items() if tally.splits}
        return self._table(known, scores, float(np.mean(levels)), (sizes, np.mean(curves, axis=0)))

    def _pick(self, selector: Selector, lesson: Lesson, rng: np.random.Generator) -> OneForAll | ByChance | None:
        """What a selector picks for all items of one split; None if it has nothing to go by or picks per item."""
        if not selector.learns:
            picks = self.fixed.get(selector.name)
            return None if isinstance(picks, OnePerItem) else picks
        preference = selector.prefer(self.materials, lesson, rng)
        return None if preference is None else OneForAll(preference)

    def _table(
        self, tallies: Mapping[str, Tally], scores: Float, level: float, curve: tuple[NDArray[np.int64], Float]
    ) -> pl.DataFrame:
        """Rows of the selection table; `level` is the mean score, `curve` that of the plain search."""
        spread = float(scores.mean(axis=1).var(ddof=1))
        noise = 1 - float(np.clip(np.nan_to_num(cronbach_alpha(scores)), 0, 1))
        rows = []
        for selector in self.selectors:
            if selector.name not in tallies:
                continue
            tally = tallies[selector.name]
            errors = tally.errors(self.weights, spread, noise, selector.learns)
            rows.append(
                {
                    "selector": selector.name,
                    "kind": selector.kind,
                    "value": level + tally.gain,
                    "gain": tally.gain,
                    **{f"top_{size}": tally.top_gain(size) for size in TOP},
                    "regret": tallies["oracle"].gain - tally.gain,
                    "splits": tally.splits,
                    "standard_error": errors and math.hypot(*errors),
                    "error_candidates": errors and errors[0],
                    "search_items": search_items(tally.gain, *curve),
                }
            )
        return _with_intervals(pl.DataFrame(rows, schema={name: SELECTION.schema[name] for name in rows[0]}))


def _search_sizes(most: int) -> NDArray[np.int64]:
    """Numbers of items at which the plain search is valued: powers of two, and all that there are."""
    return np.unique([*2 ** np.arange(int(np.log2(most)) + 1), most])


def search_curve(chosen: Float, half: Half, sizes: NDArray[np.int64], rng: np.random.Generator) -> Float:
    """Gain over random of the best candidate on K items of the half `chosen` [C, n], for every K of `sizes`."""
    rank = np.stack([rng.permutation(chosen.shape[1]) for _ in range(SEARCHES)])  # [searches, n]
    tried = rank[:, None] < np.minimum(sizes, chosen.shape[1])[:, None]  # [searches, sizes, n]
    means = chosen @ shares(tried).reshape(-1, chosen.shape[1]).T
    best = means >= means.max(axis=0) - TINY
    gains = (half.quality @ best) / best.sum(axis=0) - half.quality.mean()
    return gains.reshape(SEARCHES, len(sizes)).mean(axis=0)


def search_items(gain: float, sizes: NDArray[np.int64], curve: Float) -> float | None:
    """The exchange rate: items that a plain search needs for `gain`, between the points of its `curve` of gains.

    0 for no gain at all; None where a search with half of all items gains less. More items never hurt a search, so
    that a dip of the curve is noise and is filled.
    """
    if gain <= 0:
        return 0.0
    gains, first = np.unique(np.maximum.accumulate([0.0, *curve]), return_index=True)
    return float(np.interp(gain, gains, np.array([0, *sizes])[first])) if gain <= gains[-1] + TINY else None


def _with_intervals(frame: pl.DataFrame) -> pl.DataFrame:
    """Add low, high, p and p_holm; bounds are no competitors, and random has nothing to be compared with."""
    gain, error = frame["gain"].to_numpy(), frame["standard_error"].fill_null(np.nan).to_numpy()
    competes = (frame["kind"] != "bound").to_numpy() & np.isfinite(error)
    p, p_holm = np.full((2, len(gain)), np.nan)
    p[competes] = 2 * norm.sf(np.abs(gain[competes]) / error[competes])
    p_holm[competes] = holm(p[competes])
    columns = {"low": gain - Z_95 * error, "high": gain + Z_95 * error, "p": p, "p_holm": p_holm}
    return frame.with_columns(pl.Series(name, column).fill_nan(None) for name, column in columns.items())


def _picks_without_scores(
    selectors: Sequence[Selector], materials: Materials, weights: Weights, seed: int
) -> dict[str, Pick]:
    """Picks of the selectors that do not learn, made once; those that the data set cannot serve are left out."""
    picks: dict[str, Pick] = {}
    for selector in selectors:
        if selector.learns:
            continue
        preference = selector.prefer(materials, None, generator(seed, f"selector {selector.name}"))
        if preference is None:
            logger.info("%s is left out: the study lacks what it looks at", selector.name)
        elif selector.kind == "query":
            picks[selector.name] = OnePerItem.of(preference, weights)
        else:
            picks[selector.name] = ByChance(preference) if selector.by_chance else OneForAll(preference)
    return picks


def _shift(scores: Mapping[str, Scores], first: str, target: str, judging: NDArray[np.bool_]) -> float:
    """By how much values of `target` exceed those of `first`, which differs by a constant per item only."""
    constant = scores[target].matrix[0] - scores[first].matrix[0]
    return float(np.mean([constant[judges].mean() for judges in judging]))


def _read_tokens(evaluation: str | Path, features: pl.DataFrame, masks: int) -> Tokens:
    """Lengths of the demonstrations, from the features, and of the items, from the zero-shot prompts."""
    prompts = EVALUATION.read(evaluation, columns=["candidate", "prompt_tokens"]).filter(candidate=ZERO_SHOT)
    asked = features["content_free_tokens"].fill_null(0).to_numpy()
    return Tokens(features["length"].to_numpy(), prompts["prompt_tokens"].to_numpy(), masks, asked)


def _read_materials(files: Files, shape: tuple[int, int], probe: Mapping[str, Any] | None) -> Materials:
    """Read what selectors may look at; refuse embeddings or texts of other candidates and items than were evaluated.

    shape: how many were evaluated. There may be more items, never fewer. probe: site and layer, as `selection.probe`.
    """
    signals = read_metrics(files.metrics, shape[0])
    signals = signals.where(signals.defined)
    everything = EMBEDDINGS.read(files.embeddings).sort("id")
    found = {}
    for role, path, size in (("candidate", files.candidates, shape[0]), ("item", files.item_rows, shape[1])):
        mine = everything.filter(pl.col("role") == role)
        texts = SAMPLE.read(path, columns=["id", "question"]).sort("id")["question"]
        if role == "item":
            mine, texts = mine.head(size), texts.head(size)
        if mine["id"].to_list() != list(range(size)) or len(texts) != size:
            raise StudyError(
                f"{files.embeddings} or {path} has another number of {role}s than the evaluation, {size}: rerun"
            )
        found[role] = mine, texts.to_list()
    (candidates, candidate_texts), (items, item_texts) = found["candidate"], found["item"]
    return Materials(
        features=read_features(files.features, shape[0]),
        candidate_vectors=_matrix(candidates["vector"]),
        item_vectors=_matrix(items["vector"]),
        candidate_texts=candidate_texts,
        item_texts=item_texts,
        activation=signals.ranks,
        metrics=signals.about["metric"].to_numpy(),
        candidate_encodings=_encodings(candidates),
        item_encodings=_encodings(items),
        item_labels=_labels(files.item_rows, shape[1]),
        probe=read_last_vectors(files.activations, probe, shape[0]) if probe and files.activations else None,
    )


def _labels(item_rows: str | Path, items: int) -> NDArray[np.int64] | None:
    """Index of the right choice of the first items [N]; None where answers are generated."""
    rows = SAMPLE.read(item_rows, columns=["id", "kind", "gold"]).sort("id").head(items)
    return rows["gold"].cast(pl.Int64).to_numpy() if (rows["kind"] == "choice").all() else None


def read_last_vectors(path: str | Path, probe: Mapping[str, Any], candidates: int) -> Float:
    """Activations of the last token [C, width] at the `site` and `layer` of a probe.

    The layer is a block index or, where it is no whole number, a share of the depth from the first block to the last.
    """
    there = ACTIVATIONS.read(path, columns=["layer"])["layer"].n_unique()
    layer = probe["layer"] if isinstance(probe["layer"], int) else round(probe["layer"] * (there - 1))
    if layer >= there:
        raise StudyError(f"selection.probe.layer: there is no block {layer}, the model has {there}, the first being 0")
    known = pl.scan_parquet(path).filter(site=probe["site"], layer=layer).sort("candidate")
    rows = known.select("candidate", "last_vector").collect()
    if rows["candidate"].to_list() != list(range(candidates)):
        raise StudyError(f"{path} has other candidates than the evaluation, which has {candidates}: delete it, rerun")
    return _matrix(rows["last_vector"])


def _encodings(embeddings: pl.DataFrame) -> Float | None:
    """Encodings as rows [n, d]; None if there are none."""
    return None if embeddings["encoding"].null_count() else _matrix(embeddings["encoding"])


def _matrix(vectors: pl.Series) -> Float:
    """Vectors as rows [n, d]."""
    return vectors.explode().to_numpy().reshape(len(vectors), -1).astype(np.float64)
