"""What B labelled examples are worth: pools by chance or by a strategy, and rules that pick from them or learn.

A value has two samples behind it: the study's candidates, of which random halves say how it would differ for others,
with every strategy run anew, and its items.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.labelling.pools import Ids, Rule, powers
from iclscope.labelling.probing import predict, scaled
from iclscope.labelling.rankings import STRATEGIES, Sets
from iclscope.labelling.spaces import Space, read_spaces
from iclscope.matrix import quality
from iclscope.matrix.quality import primary_of, read_scores
from iclscope.runtime.configuration.task_files import are_classes
from iclscope.runtime.jobs import Job
from iclscope.runtime.logs import progress
from iclscope.selection.trial import clusters_of
from iclscope.statistics.corrections import holm
from iclscope.statistics.gains.budgets import Estimate, estimated
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator, random_half
from iclscope.tables import BUDGET, FEATURES, SAMPLE, TASK_SCORE
from iclscope.tasks.samples import labels_of

logger = logging.getLogger(__name__)

RANDOM, PROBE, OVER_NEAREST = "random", "probe", "probe_over_nearest"
SPLITS = 10  # halves of the items, each taken both ways, for the rule `search`
POOLS = 2  # random pools of each half of the candidates on which a probe learns
NO_CLASSES = "rows have no classes in common that a probe could learn"
NO_ACCURACY = "accuracy is none of the quality targets, and a probe has no other score"
SHARE = 4  # strategies are compared up to this part of the candidates

Row = dict[str, Any]


@dataclass(frozen=True)
class Files(quality.Files):
    """What is compared: the score matrix and its samples, and what is known of questions without labels."""

    features: str | Path
    embeddings: str | Path
    representations: str | Path | None = None


@dataclass(frozen=True)
class Labelled:
    """A study as a pool of examples that could be labelled.

    `pools` are the ids of all candidates, then of each random half of them; `clusters` [N] number the items' passages;
    `halves` [N] are halves of the items; `labels` are those of candidates [C] and items [N], None where rows have no
    choices in common; `classes` says whether these mean the same in every row, as letters of options do not.
    """

    pools: Sequence[Ids]
    clusters: Ids
    halves: Sequence[NDArray[np.bool_]]
    labels: tuple[Ids, Ids] | None
    classes: bool

    @property
    def budgets(self) -> list[int]:
        """Budgets at which strategies are compared."""
        return powers(len(self.pools[0]) // SHARE)

    @property
    def all_budgets(self) -> list[int]:
        """Budgets of random pools: up to half of the candidates."""
        return powers(min(map(len, self.pools)))

    def estimate(self, per_item: Float, halves: Float, budget: int) -> Estimate:
        """As `estimated`, of a value that holds for pools of `budget` candidates."""
        return estimated(per_item, halves, self.clusters, len(self.pools[0]) / budget)


def run(*, files: Files, settings: Mapping[str, Any], budget_out: str | Path, job: Job) -> None:
    """Write the table budget of one model and data set.

    settings: the config's `budget`, with `targets` and `primary` of its `quality`.
    """
    scores, groups = read_scores(files, settings["targets"])
    shape = next(iter(scores.values())).matrix.shape
    ours, theirs = clusters_of(groups, shape[0])
    rng, splits = generator(job.seed, "halves of a pool"), generator(job.seed, "budget halves")
    pools = [np.arange(shape[0]), *(np.flatnonzero(random_half(ours, rng)) for _ in range(settings["halves"]))]
    study = Labelled(pools, theirs, [random_half(theirs, splits) for _ in range(SPLITS)], *_labels(files, shape))
    entropy = FEATURES.read(files.features, ["candidate", "zero_shot_entropy"]).sort("candidate")["zero_shot_entropy"]
    unsure = None if entropy.null_count() else entropy.to_numpy()
    targets = [name for name in dict.fromkeys([primary_of(scores, settings["primary"]), TASK_SCORE]) if name in scores]
    rows: list[Row] = []
    for space in progress(
        read_spaces(files.embeddings, files.representations, shape), description="budget", unit="space"
    ):
        sets = _sets(study, space, unsure, settings["strategies"], job.seed)
        for target in targets:
            rows += [{"target": target, **row} for row in _compared(study, space, scores[target].matrix, sets)]
        accuracy = scores[TASK_SCORE].matrix if TASK_SCORE in targets else None
        probed = _probed(study, space, accuracy, generator(job.seed, f"probe {space.name}"))
        rows += [{"target": TASK_SCORE, **row} for row in probed]
    BUDGET.write(pl.DataFrame(rows, schema=BUDGET.schema), budget_out, job.provenance)


def _labels(files: Files, shape: tuple[int, int]) -> tuple[tuple[Ids, Ids] | None, bool]:
    """Right answers of candidates and items, where all rows have the same choices; and whether these are classes."""
    paths = (files.candidates, files.item_rows)
    columns = ["id", "kind", "choices", "gold"]
    found = [SAMPLE.read(path, columns).sort("id").head(size) for path, size in zip(paths, shape, strict=True)]
    choices = labels_of(row for part in found for row in part.iter_rows(named=True))
    if not choices:
        return None, False
    first, second = (part["gold"].to_numpy().astype(np.int64) for part in found)
    return (first, second), are_classes(choices)


def _sets(
    study: Labelled, space: Space, unsure: Float | None, strategies: Sequence[str], seed: int
) -> dict[str, list[Sets] | None]:
    """Strategy → what it labels in each pool, by places in the pool; None if it lacks what it goes by."""
    found: dict[str, list[Sets] | None] = {}
    for name in strategies:
        made = [
            STRATEGIES[name](
                space.directions[pool], None if unsure is None else unsure[pool], study.budgets, seed % 2**31
            )
            for pool in study.pools
        ]
        known = [sets for sets in made if sets is not None]
        found[name] = known if len(known) == len(made) else None
    return found


def _compared(study: Labelled, space: Space, scores: Float, sets: Mapping[str, list[Sets] | None]) -> Iterator[Row]:
    """Rows of every rule that picks a demonstration, in random pools and in those of strategies."""
    every = np.arange(scores.shape[1])
    rules = Rule("any", None, every), Rule("nearest", space.likeness, every), Rule.search(scores, study.halves)
    same = None if study.labels is None else (study.labels[0][:, None] == study.labels[1]).astype(np.float64)
    for rule in rules:
        own = {"rule": rule.name, "representation": space.name}
        by_chance = _at_random(study, rule, scores)
        matched = None if same is None else rule.at_random(same, study.all_budgets).mean(axis=1)
        for place, budget in enumerate(study.all_budgets):
            found = study.estimate(
                by_chance[0][place], np.array([part[place].mean() for part in by_chance[1:]]), budget
            )
            match = None if matched is None else float(matched[place])
            yield {**own, "strategy": RANDOM, "budget": budget, **_level(found), "label_match": match}
        yield from _of_strategies(study, own, _gains(study, rule, scores, by_chance, sets), (rule, scores, same, sets))


def _at_random(study: Labelled, rule: Rule, scores: Float) -> list[Float]:
    """Scores of items [budgets, N] in random pools of all candidates, then of each half of them."""
    return [rule.among(pool).at_random(scores[pool], study.all_budgets) for pool in study.pools]


Gained = dict[str, tuple[Float, Float]]  # strategy → gain of each item [budgets, N], and of halves [H, budgets]


def _gains(
    study: Labelled, rule: Rule, scores: Float, by_chance: Sequence[Float], sets: Mapping[str, list[Sets] | None]
) -> Gained:
    """What every strategy that is defined gains over random pools."""
    gains: Gained = {}
    for name, chosen in sets.items():
        if chosen is not None:
            parts = []
            for pool, members, chance in zip(study.pools, chosen, by_chance, strict=True):
                mine = rule.among(pool)
                values = np.stack([mine.of(scores[pool], members[budget]) for budget in study.budgets])
                parts.append(values - chance[: len(study.budgets)])
            gains[name] = parts[0], np.stack([part.mean(axis=1) for part in parts[1:]])
    return gains


def _of_strategies(
    study: Labelled,
    own: Row,
    gains: Gained,
    origin: tuple[Rule, Float, Float | None, Mapping[str, list[Sets] | None]],
) -> Iterator[Row]:
    """Rows of the strategies under one rule; p is that of the mean gain over budgets, corrected for their number."""
    rule, scores, same, sets = origin
    areas = {
        name: study.estimate(items.mean(axis=0), halves.mean(axis=1), study.budgets[-1])
        for name, (items, halves) in gains.items()
    }
    tested = [name for name, area in areas.items() if area.p is not None]
    corrected = dict(zip(tested, holm(np.array([areas[name].p for name in tested], np.float64)), strict=True))
    for name, chosen in sets.items():
        for place, budget in enumerate(study.budgets):
            row = {**own, "strategy": name, "budget": budget}
            if chosen is None:
                yield row | {"reason": "answers are generated, and the model is unsure of no choice"}
                continue
            found = study.estimate(gains[name][0][place], gains[name][1][:, place], budget)
            members = chosen[0][budget]
            yield {
                **row,
                **_level(found),
                "value": float(rule.of(scores, members).mean()),
                "gain": found.value,
                "area": areas[name].value,
                "p_holm": corrected.get(name),
                "label_match": None if same is None else float(rule.of(same, members).mean()),
            }


def _level(found: Estimate) -> Row:
    """An estimate as columns."""
    return {"value": found.value, "standard_error": found.standard_error, "low": found.low, "high": found.high}


def _probed(study: Labelled, space: Space, accuracy: Float | None, rng: np.random.Generator) -> Iterator[Row]:
    """Rows of the probe in random pools, and of its lead over the rule `nearest`, in accuracy [C, N]."""
    own: Row = {"representation": space.name, "strategy": RANDOM}
    if accuracy is None or not study.classes:
        reason = NO_CLASSES if accuracy is not None else NO_ACCURACY
        yield from ({**own, "rule": rule, "budget": 1, "reason": reason} for rule in (PROBE, OVER_NEAREST))
        return
    nearest = _at_random(study, Rule("nearest", space.likeness, np.arange(accuracy.shape[1])), accuracy)
    for place, budget in enumerate(study.all_budgets):
        right = _right(study, space, budget, rng)  # [halves, pools, N]
        per_item, halves = right.mean(axis=(0, 1)), _without_luck(right.mean(axis=2))
        own["budget"] = budget
        found = study.estimate(per_item, halves, budget)
        yield {**own, "rule": PROBE, **_level(found), "label_match": found.value}
        lead = halves - np.array([part[place].mean() for part in nearest[1:]])
        yield {**own, "rule": OVER_NEAREST, **_level(study.estimate(per_item - nearest[0][place], lead, budget))}


def _right(study: Labelled, space: Space, budget: int, rng: np.random.Generator) -> Float:
    """Whether a probe on random pools of each half of the candidates names an item's label [halves, pools, N]."""
    assert study.labels is not None
    (ours, theirs), (points, items) = study.labels, scaled(space.candidates, space.items)

    def one(half: Ids) -> Float:
        members = rng.choice(half, budget, replace=False)
        return (predict(points[members], ours[members], items) == theirs).astype(np.float64)

    return np.stack([np.stack([one(half) for _ in range(POOLS)]) for half in study.pools[1:]])


def _without_luck(means: Float) -> Float:
    """Values of halves [H] from a few pools of each [H, pools], spread as if all pools of each were known."""
    halves = means.mean(axis=1)
    spread, luck = halves.var(ddof=1), means.var(axis=1, ddof=1).mean() / means.shape[1]
    shrink = np.sqrt(max(0.0, 1 - luck / spread)) if spread else 0.0
    middle = halves.mean()
    shrunk: Float = middle + shrink * (halves - middle)
    return shrunk
