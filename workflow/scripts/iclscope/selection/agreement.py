"""Do two ways of scoring agree about good candidates: two quality targets of a model, or two models in one target?

What is compared is true quality, over disjoint items; and what the best candidate by the first gains by the second.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.matrix.quality import SHIFTED, Scores, all_scores, read_evaluation, shape_of
from iclscope.matrix.variance import variance_rows
from iclscope.runtime.jobs import Job
from iclscope.selection.trial import clusters_of, pool_of
from iclscope.statistics.gains.agreement import TrueVariance, agreement_of, gain_elsewhere
from iclscope.statistics.gains.pools import Ids
from iclscope.statistics.intervals import TINY
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator, random_half
from iclscope.tables import AGREEMENT, VARIANCE
from iclscope.tasks.samples import Groups


@dataclass(frozen=True)
class Files:
    """What is compared: `evaluations` maps every model of the study to its score matrix; the others are the samples."""

    evaluations: Mapping[str, str | Path]
    candidates: str | Path
    item_rows: str | Path


def run(
    *,
    model: str,
    files: Files,
    targets: Sequence[str],
    settings: Mapping[str, Any],
    agreement_out: str | Path,
    variance_out: str | Path,
    job: Job,
) -> None:
    """Write the tables agreement and variance of `model` on one data set.

    `targets` is the config's `quality.targets`, `settings` are `pool` and `splits` of its `selection`. Models that
    stopped after different numbers of items are compared on those that both, or all, have.
    """
    evaluations = {name: read_evaluation(file, targets) for name, file in files.evaluations.items()}
    rows = []
    for other in evaluations:
        (mine, theirs), groups = _scores_of(evaluations, (model, other), files, targets)
        candidates = len(next(iter(mine.values())).matrix)
        clusters = clusters_of(groups, candidates)
        rng = generator(job.seed, "selection halves")
        judging = np.stack([random_half(clusters[1], rng) for _ in range(settings["splits"])])
        pair = Pair(judging, *clusters, pool_of(settings["pool"], candidates))
        for first, second in _pairs(mine, theirs, same=other == model):
            found = pair.compare(mine[first].matrix, theirs[second].matrix)
            rows.append({"target": first, "with_model": other, "with_target": second, **found})
    AGREEMENT.write(pl.DataFrame(rows, schema=AGREEMENT.schema), agreement_out, job.provenance)
    (mine,), groups = _scores_of(evaluations, (model,), files, targets)
    models, _ = _scores_of(evaluations, tuple(evaluations), files, targets)
    parts = pl.DataFrame(list(variance_rows(mine, models, groups.gold)), schema=VARIANCE.schema)
    VARIANCE.write(parts, variance_out, job.provenance)


def _scores_of(
    evaluations: Mapping[str, pl.DataFrame], models: Sequence[str], files: Files, targets: Sequence[str]
) -> tuple[list[dict[str, Scores]], Groups]:
    """Score matrices by target of each of the `models`, on the candidates and items that all of these have."""
    candidates, items = np.min([shape_of(evaluations[model]) for model in models], axis=0).tolist()
    groups = Groups.read(files.candidates, files.item_rows, (candidates, items))
    met = (evaluations[model].filter(pl.col("item") < items) for model in models)
    return [all_scores(frame, targets, groups.gold) for frame in met], groups


def _pairs(mine: Mapping[str, Scores], others: Mapping[str, Scores], same: bool) -> Iterator[tuple[str, str]]:
    """Targets of one model that are not shifts of each other, each with each; the same target of two models."""
    for first in mine:
        for second in others:
            alike = SHIFTED.get(first, first) == SHIFTED.get(second, second)
            if (not alike) if same else first == second:
                yield first, second


@dataclass(frozen=True)
class Pair:
    """How two score matrices of the same candidates and items are compared, in pools of `pool` candidates.

    `judging` [splits, N] says which items judge; clusters number those of candidates [C] and of items [N] from 0.
    """

    judging: NDArray[np.bool_]
    candidate_clusters: Ids
    item_clusters: Ids
    pool: int

    def compare(self, first: Float, second: Float) -> dict[str, Any]:
        """The columns of the table agreement for two matrices [C, N]."""
        clusters = self.candidate_clusters, self.item_clusters
        agreed = agreement_of(first, second, *clusters)
        reliability = TrueVariance.of(second, *clusters).reliability
        gains = gain_elsewhere(first, second, self.judging, [self.pool], reliability)
        errors = gains.errors(*clusters)
        low, high = errors.interval(gains.gain)
        known = errors.total.item() > TINY
        return {
            "candidates": len(first),
            "items": first.shape[1],
            "pool": self.pool,
            "rho": agreed.rho,
            "low": agreed.low,
            "high": agreed.high,
            "halves": agreed.halves,
            "ceiling": agreed.ceiling,
            "gain_elsewhere": gains.gain.item(),
            "gain_low": low.item() if known else None,
            "gain_high": high.item() if known else None,
            "reason": agreed.reason,
        }
