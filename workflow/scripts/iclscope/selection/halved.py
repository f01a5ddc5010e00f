"""One demonstration for whoever wants no study: sequential halving that computes the pairs it needs and no others.

Half of the items choose; on the others the winner is compared, item by item, with candidates drawn at random. There is
no score matrix then: reliability, correlations, the verdict and the worth of other selectors are undefined.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.matrix.quality import COLUMNS
from iclscope.matrix.sets import Asked, SetScorer, longest_of
from iclscope.runtime.jobs import Job, PreparedModel, Task
from iclscope.runtime.provenance import digest
from iclscope.selection.halving import Ids, halve, rounds
from iclscope.selection.picks import REFERENCE, model_of, shown, unit_of, verdict_of, write_picks
from iclscope.selection.sets import RANDOM
from iclscope.statistics.gains.sets import Worth, worth_of_pairs
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator
from iclscope.tables import BEATS_RANDOM, HALVING, RANDOM_WILL_DO, SAMPLE
from iclscope.tasks.samples import Groups

logger = logging.getLogger(__name__)

NAME = "halving"
INTERVAL = "95 %, for other items and other random demonstrations"  # what intervals are for

# What a pair can be scored in; the first where another is unknown.
TARGETS = ("gold_logprob", "margin", "accuracy", "accuracy_norm")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Files:
    """The samples, and the source.json of the model."""

    candidates: str | Path
    item_rows: str | Path
    model: str | Path


@dataclass(frozen=True)
class Outputs:
    """The pairs, the picks and the task of the harness."""

    halving_out: str | Path
    picks_out: str | Path
    task_out: str | Path


@dataclass(frozen=True)
class Plan:
    """Who is tried on what: `choosing` and `judging` are items in the order of their use, `drawn` [judging] candidates.

    `first` are the candidates in the order in which equals are kept.
    """

    first: Ids
    choosing: Ids
    judging: Ids
    drawn: Ids
    rounds: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, candidates: int, items: int, new: int, seed: int) -> "Plan":
        """A plan that begins with `new` items."""
        rng = generator(seed, "sequential halving")
        order, first = rng.permutation(items), rng.permutation(candidates)
        choosing, judging = order[: items - items // 2], order[items - items // 2 :]
        drawn = rng.integers(candidates, size=len(judging))
        return cls(first, choosing, judging, drawn, list(rounds(candidates, new, len(choosing))))

    @property
    def pairs(self) -> int:
        """Pairs that are computed, those of the comparison included."""
        return sum(left * new for left, new in self.rounds) + 2 * len(self.judging)


def run(
    *,
    files: Files,
    model: PreparedModel,
    task: Task,
    settings: Mapping[str, Any],
    code: str,
    outputs: Outputs,
    job: Job,
) -> None:
    """Write the pairs and the picks of one model and data set; rounds that an interrupted job finished are kept.

    settings: `halving`, items of the first round, and `batch_tokens` of the config's `evaluation`, `primary` of its
    `quality`, `margin` of its `verdict`, and the number of tables of the study. code: digest of the code behind the
    stage: rounds of another one are made again.
    """
    candidates, items = (SAMPLE.read(path).sort("id").to_dicts() for path in (files.candidates, files.item_rows))
    plan = Plan.of(len(candidates), len(items), settings["halving"], job.seed)
    target = target_of(settings["primary"], items[0])
    whole = len(candidates) * len(items)
    logger.info("%d of %d pairs, chosen by %s: %s", plan.pairs, whole, target, plan.rounds)
    parts = Path(outputs.halving_out).with_suffix(".parts") / digest([job.provenance, code])
    tournament = Tournament(candidates, items, plan, COLUMNS[target], parts, job)
    scorer = SetScorer(model, settings["batch_tokens"], longest_of([Asked([row], items) for row in candidates]))
    pairs, winner = tournament.play(scorer)
    HALVING.write(pairs, outputs.halving_out, job.provenance)
    clusters = Groups.read(files.candidates, files.item_rows, (len(candidates), len(items))).items
    common = {
        "model": model_of(files.model),
        "dataset": task.key.partition(".")[2],
        "items": len(plan.judging),
        "target": target,
        "pairs": plan.pairs,
        "of_pairs": whole,
    }
    lines = list(lines_of(Judged.of(pairs, winner, plan, clusters), target, settings, common, candidates))
    write_picks(lines, task, outputs.picks_out, outputs.task_out)
    shutil.rmtree(parts.parent, ignore_errors=True)


def target_of(primary: str, item: Row) -> str:
    """The score of a pair that comes nearest to the study's primary target: balance and calibration need more pairs."""
    wanted = primary.removesuffix("_balanced").removesuffix("_calibrated")
    return wanted if wanted in TARGETS and item["kind"] != "generation" else TARGETS[0]


@dataclass(frozen=True)
class Tournament:
    """Candidates that are halved round by round by the mean of `column`; rounds are kept in `parts`."""

    candidates: Sequence[Row]
    items: Sequence[Row]
    plan: Plan
    column: str
    parts: Path
    job: Job

    def play(self, scorer: SetScorer) -> tuple[pl.DataFrame, int]:
        """All pairs, and the candidate that is left."""
        frames: list[pl.DataFrame] = []

        def means(alive: Ids, used: int, end: int) -> Float:
            asked = [(int(one), self.plan.choosing[used:end], False) for one in alive]
            frames.append(self._round(len(frames), asked, scorer))
            found = dict(pl.concat(frames).group_by("candidate").agg(pl.col(self.column).mean()).iter_rows())
            return np.array([found[int(one)] for one in alive])

        *_, last_round = halve(self.plan.first, self.plan.rounds, means)
        winner = int(last_round[0])
        drawn = [(int(one), self.plan.judging[self.plan.drawn == one], True) for one in np.unique(self.plan.drawn)]
        last = [(winner, self.plan.judging, False), *drawn]
        frames.append(self._round(len(frames), last, scorer))
        return pl.concat(frames), winner

    def _round(self, number: int, asked: Sequence[tuple[int, Ids, bool]], scorer: SetScorer) -> pl.DataFrame:
        part = self.parts / f"{number}.parquet"
        if not part.is_file():
            sets = [Asked([self.candidates[one]], [self.items[i] for i in chosen.tolist()]) for one, chosen, _ in asked]
            names = HALVING.schema.names()
            rows = [
                {name: {**row, "round": number, "candidate": one, "drawn": drawn}[name] for name in names}
                for (one, _, drawn), found in zip(asked, scorer.score(sets), strict=True)
                for row in found
            ]
            HALVING.write(pl.DataFrame(rows, schema=HALVING.schema), part, self.job.provenance)
        return HALVING.read(part)


@dataclass(frozen=True)
class Judged:
    """The winner and a candidate drawn for each item, on items that chose neither: column → scores [2, n].

    `drawn` is the random candidate to ship, that of the first item.
    """

    winner: int
    drawn: int
    scores: Mapping[str, Float]
    clusters: Ids
    prompt_tokens: float

    @classmethod
    def of(cls, pairs: pl.DataFrame, winner: int, plan: Plan, clusters: Ids) -> "Judged":
        """From the last round of the table halving."""
        last = pairs.filter(round=len(plan.rounds)).sort("drawn", "item")
        columns = [name for name in dict.fromkeys(COLUMNS[target] for target in TARGETS) if not last[name].null_count()]
        scores = {name: last[name].to_numpy().astype(np.float64).reshape(2, -1) for name in columns}
        tokens = float(last.filter(~pl.col("drawn"))["prompt_tokens"].mean())  # type: ignore[arg-type]
        return cls(winner, int(plan.drawn[0]), scores, clusters[np.sort(plan.judging)], tokens)

    def worth(self, target: str) -> Worth | None:
        """What the winner gains in a target; None where it is not scored."""
        scores = self.scores.get(COLUMNS[target])
        return None if scores is None else worth_of_pairs(scores[0] - scores[1], self.clusters)


def lines_of(
    judged: Judged, target: str, settings: Mapping[str, Any], common: Row, candidates: Sequence[Row]
) -> Iterator[dict[str, Any]]:
    """Yield the winner and a random candidate, the one to ship first."""
    worth = {name: found for name in TARGETS if (found := judged.worth(name))}
    ours, random = (float(row.mean()) for row in judged.scores[COLUMNS[target]])
    gain, nothing = worth[target], Worth(0.0, None, None, None)
    p = 1.0 if gain.p is None else gain.p * settings["study_tables"]
    verdict = verdict_of([gain], p, worth, target)
    useful = verdict == BEATS_RANDOM and gain.gain > settings["margin"][unit_of(target)]
    chosen = {
        **{"name": NAME, "k": 1, "verdict": verdict, **common, "value": ours, **gain._asdict()},
        "interval": INTERVAL,
        "gains": {name: one._asdict() for name, one in worth.items()},
        "prompt_tokens": judged.prompt_tokens,
        **shown([candidates[judged.winner]]),
    }
    drawn = {
        **{"name": RANDOM, "k": 1, "verdict": REFERENCE if useful else RANDOM_WILL_DO, **common, "value": random},
        **nothing._asdict(),
        "gains": {target: nothing._asdict()},
        **shown([candidates[judged.drawn]]),
    }
    yield from (chosen, drawn) if useful else (drawn, chosen)
