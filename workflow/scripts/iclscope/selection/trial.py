"""What a selector is worth: the score of the demonstrations it picks, on items it has not seen, minus random.

A pick is made from a pool, and what is judged is the expectation over random pools of the candidates. A selector that
learns does so on one half of the items and is judged on the other, many times; items of one cluster stay on the same
side. Candidates that a selector prefers equally share the pick.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.matrix import quality
from iclscope.matrix.quality import SHIFTED, read_scores
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.logs import progress
from iclscope.selection.costs import Tokens
from iclscope.selection.selectors import Lesson, Materials, Selector, resolve
from iclscope.selection.vectors import retrieval, sparse
from iclscope.selection.worth import RANDOM, Compared, Judge
from iclscope.signals.grid import read_features, read_metrics
from iclscope.signals.questions import Questions
from iclscope.statistics.gains.agreement import TrueVariance
from iclscope.statistics.gains.best_possible import best_possible_gain
from iclscope.statistics.gains.pools import Gains, by_chance, one_for_all, one_per_item, pool_sizes
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator, random_half
from iclscope.tables import ACTIVATIONS, EMBEDDINGS, EVALUATION, GAINS, SAMPLE, SELECTION, ZERO_SHOT
from iclscope.tasks.samples import Groups

logger = logging.getLogger(__name__)

FEWEST = 4  # candidates that share no passage
SMALLEST, POOLS = 2, 4  # candidates in a pool, and pools that the candidates of a study make, at the least


@dataclass(frozen=True)
class Files(quality.Files):
    """What selectors look at and are judged by: `metrics` maps each mask to its file, `activations` are those under
    the model's own mask where a probe reads them, `representations` what it makes of questions alone; `codes` maps an
    SAE and its twin to their active features, where selectors go by them, `dictionary` is the table of their features.
    """

    metrics: Mapping[str, str | Path]
    features: str | Path
    embeddings: str | Path
    activations: str | Path | None = None
    representations: str | Path | None = None
    codes: Mapping[str, str | Path] = field(default_factory=dict)
    dictionary: str | Path | None = None


def run(
    *,
    files: Files,
    targets: Sequence[str],
    settings: Mapping[str, Any],
    selection_out: str | Path,
    gains_out: str | Path,
    job: Job,
) -> None:
    """Write the tables selection and gains of one model and data set.

    `targets` is the config's `quality.targets`, `settings` its `selection`. The evaluation says how many items there
    are: where it stopped early, only the first ones of the samples count.
    """
    resolve(settings["selectors"])  # refuses an unknown name before anything is read
    scores, groups = read_scores(files, targets)
    shape = next(iter(scores.values())).matrix.shape
    materials = read_materials(files, shape, groups.gold, settings.get("probe"))
    clusters = clusters_of(groups, shape[0])
    trial = Trial.of(settings, materials, clusters[1], job.seed)
    metrics = list(dict.fromkeys(materials.metrics.tolist()))
    named = {s.name: s.kind for s in resolve(settings["selectors"], metrics)}
    pool = pool_of(settings["pool"], shape[0])
    judge = Judge(named, pool, trial.searches, *clusters, settings["bootstrap"], job.seed)
    tokens = _read_tokens(files, materials.features, pool)
    costs = pl.DataFrame(
        [(s.name, s.cost(tokens)) for s in trial.selectors], {"selector": pl.String, "cost": pl.Float64}, orient="row"
    )
    valued: dict[str, tuple[pl.DataFrame, pl.DataFrame]] = {}
    selection, gains = [], []
    for target in progress(list(scores), description="selection", unit="targets"):
        base = SHIFTED.get(target, target)
        if base not in valued:
            valued[base] = trial.value(scores[target].matrix, judge)
        frames = [frame.with_columns(pl.lit(target).alias("target")) for frame in valued[base]]
        level = scores[target].matrix.mean()
        worth = frames[0].with_columns(value=pl.col("gain") + level)
        selection.append(worth.join(costs, on="selector", how="left", maintain_order="left"))
        gains.append(frames[1])
    SELECTION.write(pl.concat(selection).select(SELECTION.schema.names()), selection_out, job.provenance)
    GAINS.write(pl.concat(gains).select(GAINS.schema.names()), gains_out, job.provenance)


def clusters_of(groups: Groups, candidates: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Clusters of so many `candidates` [C] and of items [N], from 0; refuse too few independent candidates."""
    ours = np.arange(candidates) if groups.candidates is None else groups.candidates
    if (independent := int(ours.max()) + 1) < FEWEST:
        raise StudyError(f"only {independent} independent candidates, {FEWEST} are needed: raise datasets.*.candidates")
    return ours, groups.items


def pool_of(declared: int, candidates: int) -> int:
    """Candidates in the pools in which selectors are judged: as `declared`, but at most a quarter of all.

    A selector that learns chooses among half of the candidates, and an interval takes two pools without a common one.
    """
    pool = max(SMALLEST, min(declared, candidates // POOLS))
    if pool < declared:
        logger.info("pools of %s candidates, not %s: a quarter of the study's %s", pool, declared, candidates)
    return pool


@dataclass(frozen=True)
class Trial:
    """How selectors are compared, whatever the target.

    `selectors` hold plain searches with each number of items in `searches`, what they are asked for aside; `fixed` has
    the preferences of those that do not learn; `judging` [splits, N] says which items judge; `sizes` are those of the
    pools.
    """

    selectors: Sequence[Selector]
    fixed: Mapping[str, Float]
    materials: Materials
    judging: NDArray[np.bool_]
    searches: NDArray[np.int64]
    sizes: Sequence[int]
    seed: int

    @classmethod
    def of(cls, settings: Mapping[str, Any], materials: Materials, clusters: NDArray[np.int64], seed: int) -> "Trial":
        """The trial that the config's `selection` asks for; `clusters` [N] are those of the items."""
        candidates = materials.features.height
        rng = generator(seed, "selection halves")
        judging = np.stack([random_half(clusters, rng) for _ in range(settings["splits"])])
        searches = _search_sizes(int((~judging).sum(axis=1).min()))
        names = [*settings["selectors"], *(f"search_{items}" for items in searches)]
        selectors = resolve(names, list(dict.fromkeys(materials.metrics.tolist())))
        sizes = sorted({*pool_sizes(candidates), pool_of(settings["pool"], candidates)})
        fixed = _preferences_without_scores(selectors, materials, seed)
        return cls(selectors, fixed, materials, judging, searches, sizes, seed)

    def value(self, scores: Float, judge: Judge) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The tables selection and gains of the target with `scores` Y [C, N], without name, levels and costs."""
        clusters = judge.candidate_clusters, judge.item_clusters
        variance = TrueVariance.of(scores, *clusters)
        compared = self.compare(scores, variance.reliability, judge.pool)
        rng = generator(self.seed, "best possible")
        best = best_possible_gain(scores, self.sizes[:-1], *clusters, judge.draws, rng)
        return judge.selection(compared, best), judge.curve(compared, scores.mean(axis=1), best)

    def compare(self, scores: Float, reliability: float, pool: int) -> Compared:
        """Gains of all selectors that have something to go by; `reliability` is the share of Var(q) that is not noise.

        A selector that does not learn is judged on all items at once. Labels are matched in pools of `pool` candidates.
        """
        everyone, candidates = np.ones(scores.shape[1], dtype=bool), len(scores)
        names, parts, offered, labels = [], [], [], {}
        for name, preference in self.fixed.items():
            selector = next(s for s in self.selectors if s.name == name)
            if selector.kind == "query":
                parts.append(one_per_item(preference, scores, self.sizes, reliability))
                labels[name] = self._labels(preference, scores, everyone, pool)
            elif selector.by_chance:
                if name == RANDOM:
                    labels[name] = self._labels(np.zeros_like(scores), scores, everyone, pool)
                parts.append(by_chance(preference, scores, self.sizes, reliability))
            else:
                none = np.zeros(1)
                parts.append(one_for_all(preference[None], scores, everyone, self.sizes, reliability, none))
            names.append(name)
            offered.append(np.inf if selector.by_chance else candidates)
        for selector in [s for s in self.selectors if s.learns and s.kind == "query"]:
            found = self._learned_per_item(selector, scores, reliability, pool)
            if found:
                names.append(selector.name)
                offered.append(candidates)
                parts.append(found[0])
                labels[selector.name] = found[1]
        known, learned, fewest = self._learned(scores, reliability)
        gains = Gains.stack([*parts, learned])
        matched = {name: share for name, share in labels.items() if share is not None}
        return Compared([*names, *known], gains, np.array([*offered, *fewest], dtype=np.float64), matched)

    def _labels(
        self, preference: Float, scores: Float, judges: NDArray[np.bool_], pool: int
    ) -> tuple[float, float] | None:
        """As `retrieval.label_match`, over the items that judge; None where answers are generated."""
        labels = self.materials.item_labels
        if labels is None:
            return None
        same = self.materials.features["label"].to_numpy()[:, None] == labels[judges]
        return retrieval.label_match(preference[:, judges], same, scores[:, judges], pool)

    def _learned_per_item(
        self, selector: Selector, scores: Float, reliability: float, pool: int
    ) -> tuple[Gains, tuple[float, float] | None] | None:
        """Gains and matched labels, over all splits, of a selector that learns and picks for every item.

        What it learns from items it judges others by; all candidates are offered. None if it has nothing to go by.
        """
        rng, labels = generator(self.seed, f"selector {selector.name}"), []
        lessons = list(self._lessons(scores))
        preferences = [p for _, one in lessons if (p := selector.prefer(self.materials, one, rng)) is not None]
        if len(preferences) < len(lessons):
            logger.info("%s is left out: the study lacks what it looks at", selector.name)
            return None

        def splits() -> Iterator[Gains]:
            for (judges, _), preference in zip(lessons, preferences, strict=True):
                labels.append(self._labels(preference, scores, judges, pool))
                part = one_per_item(preference[:, judges], scores[:, judges], self.sizes, reliability)
                items = np.zeros((*part.gain.shape, scores.shape[1]))
                items[..., judges] = part.items
                yield replace(part, items=items)

        gains, found = Gains.mean(splits()), [label for label in labels if label is not None]
        return gains, (found and tuple(np.mean(found, axis=0).tolist())) or None

    def _learned(self, scores: Float, reliability: float) -> tuple[list[str], Gains, Float]:
        """Names and gains of those that learn, over all splits, and among how many candidates each chooses."""
        learners = [s for s in self.selectors if s.learns and s.kind != "query"]
        fewest = np.full(len(learners), np.inf)

        def splits() -> Iterator[Gains]:
            for judges, preferences in zip(self.judging, self._preferences(learners, scores), strict=True):
                np.minimum(fewest, (preferences > -np.inf).sum(axis=1), out=fewest)
                tried = np.minimum([s.tried for s in learners], (~judges).sum())
                yield one_for_all(preferences, scores, judges, self.sizes, reliability, tried)

        gains = Gains.mean(splits())
        known = fewest > 0
        return [s.name for s, there in zip(learners, known, strict=True) if there], gains.of(known), fewest[known]

    def _preferences(self, learners: Sequence[Selector], scores: Float) -> Iterator[Float]:
        """What each split teaches [learners, C]; nobody is offered by one that has nothing to go by."""
        rngs = {selector.name: generator(self.seed, f"selector {selector.name}") for selector in learners}
        nothing = np.full(len(scores), -np.inf)
        for _, lesson in self._lessons(scores):
            found = [selector.prefer(self.materials, lesson, rngs[selector.name]) for selector in learners]
            yield np.stack([nothing if preference is None else preference for preference in found])

    def _lessons(self, scores: Float) -> Iterator[tuple[NDArray[np.bool_], Lesson]]:
        """Each split: which items judge, and what the others teach."""
        teacher_rng = generator(self.seed, "teachers")
        for judges in self.judging:
            teachers = teacher_rng.permutation(len(scores)) < len(scores) // 2
            labels = None if self.materials.item_labels is None else self.materials.item_labels[~judges]
            yield judges, Lesson(self.materials, scores[:, ~judges], teachers, labels, np.flatnonzero(~judges))


def _search_sizes(most: int) -> NDArray[np.int64]:
    """Numbers of items at which the plain search is valued: powers of two, and all that there are."""
    return np.unique([*2 ** np.arange(int(np.log2(most)) + 1), most])


def _preferences_without_scores(selectors: Sequence[Selector], materials: Materials, seed: int) -> dict[str, Float]:
    """Preferences of the selectors that do not learn; those that the data set cannot serve are left out."""
    fixed: dict[str, Float] = {}
    for selector in [s for s in selectors if not s.learns]:
        preference = selector.prefer(materials, None, generator(seed, f"selector {selector.name}"))
        if preference is None:
            logger.info("%s is left out: the study lacks what it looks at", selector.name)
        else:
            fixed[selector.name] = preference
    return fixed


def _read_tokens(files: Files, features: pl.DataFrame, pool: int) -> Tokens:
    """Lengths of the demonstrations, from the features, and of the items, from the zero-shot prompts."""
    prompts = EVALUATION.read(files.evaluation, columns=["candidate", "prompt_tokens"]).filter(candidate=ZERO_SHOT)
    asked = features["content_free_tokens"].fill_null(0).to_numpy()
    return Tokens(features["length"].to_numpy(), prompts["prompt_tokens"].to_numpy(), len(files.metrics), pool, asked)


def read_materials(
    files: Files, shape: tuple[int, int], gold: NDArray[np.int64] | None, probe: Mapping[str, Any] | None
) -> Materials:
    """Read what selectors may look at; refuse embeddings or texts of other candidates and items than were evaluated.

    shape: how many were evaluated. There may be more items, never fewer. gold: labels of the items. probe: site and
    layer, as `selection.probe`.
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
        item_labels=gold,
        probe=read_last_vectors(files.activations, probe, shape[0]) if probe and files.activations else None,
        questions=Questions.read(files.representations, shape) if files.representations else None,
        **sparse.read(files.codes, files.dictionary, shape),
    )


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
