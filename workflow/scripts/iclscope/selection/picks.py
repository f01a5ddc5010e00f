"""Which demonstrations to ship: what every chosen set gains over random sets, on items that did not choose it.

The set that is shipped was chosen on all items. It carries the estimate of the two that halves of them chose, each
judged on the other half.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.matrix import quality
from iclscope.matrix.quality import BALANCED, COLUMNS, DEMONSTRATED, SHIFTED, lacks_items
from iclscope.runtime.files import write_text
from iclscope.runtime.jobs import Job, Task
from iclscope.selection.sets import RANDOM, RANDOM_BALANCED, RULES, Chosen, read_chosen
from iclscope.selection.tried import NOTHING, Tried, read_tried
from iclscope.statistics.corrections import holm
from iclscope.statistics.gains.sets import Worth, crossed_of, worth_of
from iclscope.statistics.intervals import LEVEL
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator
from iclscope.tables import (
    BEATS_RANDOM,
    LOWERS_ACCURACY,
    RANDOM_SETS,
    RANDOM_WILL_DO,
    SAMPLE,
    SHOTS_SUMMARY,
    TASK_SCORE,
)
from iclscope.tasks.exported import with_demonstrations
from iclscope.tasks.samples import NO_LABELS
from iclscope.tasks.turns import messages_of, prefix_of

logger = logging.getLogger(__name__)

WORSE, UNDECIDED, REFERENCE = "worse than random", "undecided", "reference"  # verdicts beside those of `tables`
OF_CHOSEN = (  # what intervals are for
    "95 %, for other items and other random sets; of what halves of the items chose, each judged by the other half, "
    "while the demonstrations here were chosen by all items"
)
OF_DRAWN = "95 %, for other items and other sets of both kinds"
PRIVATE = ("weights", "files")  # of a source.json: checksums, which the run record shows


@dataclass(frozen=True)
class Files(quality.Files):
    """The score matrix and the samples, the table shots, and the source.json of the model."""

    shots: str | Path
    model: str | Path


@dataclass(frozen=True)
class Pick:
    """Demonstrations and what they are worth.

    `value`: mean score. `worth`: quality target → gain over random sets of the same size, `over_balanced` that over
    label-balanced ones in the target of the verdict. `deviations` of the mean score over orders of these members, and
    over random sets.
    """

    tried: Tried
    value: float
    worth: Mapping[str, Worth]
    over_balanced: Worth | None
    deviations: tuple[float | None, float]
    verdict: str = REFERENCE

    @property
    def drawn(self) -> bool:
        """Whether it was drawn, not chosen."""
        return self.tried.name in RANDOM_SETS

    def over(self, target: str) -> list[Worth]:
        """The gains that count: over random sets, and over label-balanced ones where there are any."""
        return [self.worth[target], *([self.over_balanced] if self.over_balanced else [])]

    def p(self, target: str) -> float:
        """p of the weaker of these gains: to beat random choice is to beat both (intersection-union test)."""
        return max(1.0 if one.p is None else one.p for one in self.over(target))


def run(
    *,
    files: Files,
    task: Task,
    settings: Mapping[str, Any],
    picks_out: str | Path,
    task_out: str | Path,
    summary_out: str | Path,
    job: Job,
) -> None:
    """Write the picks, a JSON object a line, the recommended one first, and a task of the harness that uses that one.

    Beside them a table of what sets score. settings: the config's `shots`, with `targets` and `primary` of its
    `quality`, `margin` of its `verdict`, and the number of tables of the study, one for each model and data set.
    """
    chosen = read_chosen(files, settings, job.seed)
    tried = read_tried(files.shots, files.evaluation, chosen)
    judging = Judging.of(tried, chosen, settings["targets"])
    judging = replace(judging, crossed=_crossed(tried, chosen, len(judging.clusters), job.seed))
    picks = recommended_first(judging.picks(settings["study_tables"]), settings["margin"][unit_of(chosen.target)])
    rows = SAMPLE.read(files.candidates).sort("id").to_dicts()
    common = {
        "model": model_of(files.model),
        "dataset": task.key.partition(".")[2],
        "items": len(judging.clusters),
        "target": chosen.target,
        "zero_shot": judging.zero_shot,
    }
    bare = tried[NOTHING, 0].prompt_tokens
    lines = [_line(pick, [rows[member] for member in pick.tried.members], common, bare) for pick in picks]
    write_picks(lines, task, picks_out, task_out)
    summary = [*judging.drawn(), *_chosen(picks, chosen.target), *_missing(tried, settings)]
    frame = pl.DataFrame([{"target": chosen.target, **row} for row in summary], schema=SHOTS_SUMMARY.schema)
    SHOTS_SUMMARY.write(frame, summary_out, job.provenance)


def _crossed(
    tried: Mapping[tuple[str, int], Tried], chosen: Chosen, judging: int, seed: int
) -> dict[tuple[str, int], float]:
    """Name and size of each chosen set → correlation of the errors of the halves that choose it for each other."""

    def of(name: str, k: int) -> float:
        rng = generator(seed, f"crossed halves of {name} {k}")
        return crossed_of(
            chosen.scores,
            lambda scores: RULES[name](scores, chosen.labels, k) or (),
            chosen.groups.items,
            judging,
            rng,
        )

    return {(name, k): of(name, k) for name, k in tried if name in RULES}


@dataclass(frozen=True)
class Judging:
    """How sets become picks: what was tried, the target of the verdict and all `targets` that sets have scores in.

    `gold` [n] are the labels of the items that judge, None for generated answers; `clusters` [n] theirs. `crossed`:
    name and size of a chosen set → correlation of the errors of the halves of the items.
    """

    tried: Mapping[tuple[str, int], Tried]
    target: str
    targets: Sequence[str]
    labels: NDArray[np.int64] | None
    gold: NDArray[np.int64] | None
    clusters: NDArray[np.int64]
    crossed: Mapping[tuple[str, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, tried: Mapping[tuple[str, int], Tried], chosen: Chosen, targets: Sequence[str]) -> "Judging":
        """Of sets that were chosen in one target, for the config's `targets`."""
        items = next(iter(tried[NOTHING, 0].judged.values())).shape[1]
        gold = None if chosen.groups.gold is None else chosen.groups.gold[:items]
        few = gold is None or lacks_items(gold)
        left_out = {*DEMONSTRATED, *SHIFTED, *(BALANCED if few else ())}
        judged = [target for target in targets if target not in left_out]
        named = list(dict.fromkeys([chosen.target, *judged]))
        return cls(tried, chosen.target, named, chosen.labels, gold, chosen.groups.items[:items])

    @property
    def zero_shot(self) -> float:
        """Mean score without a demonstration."""
        return float(self._scores(self.tried[NOTHING, 0], self.target).mean())

    def picks(self, study_tables: int = 1) -> list[Pick]:
        """Every set with what it is worth; verdicts on chosen ones are corrected for their number in the study.

        That is Holm's correction within the table, times the tables of the study, as for selectors.
        """
        found = [self._pick(mine) for (name, k), mine in self.tried.items() if k > (name == RANDOM)]
        chosen = [pick for pick in found if not pick.drawn]
        corrected = study_tables * holm(np.array([pick.p(self.target) for pick in chosen]))
        judged = [replace(pick, verdict=self._verdict(pick, p)) for pick, p in zip(chosen, corrected, strict=True)]
        return [*judged, *(pick for pick in found if pick.drawn)]

    def drawn(self) -> Iterator[dict[str, Any]]:
        """Rows of the table shots_summary, one per random set with its mean score."""
        chances: dict[tuple[str, int], Float | None] = {key: None for key in self.tried if key[0] in RANDOM_SETS}
        if self.labels is not None:
            chances[RANDOM_BALANCED, 1] = self._of_a_label()
        for (name, k), share in chances.items():
            values = self._scores(self.tried[name if k > 1 else RANDOM, k], self.target).mean(axis=1)
            shares = np.ones(len(values)) if share is None else share
            for number, (value, chance) in enumerate(zip(values, shares / shares.sum(), strict=True)):
                yield {"name": name, "k": k, "number": number, "share": float(chance), "value": float(value)}

    def _pick(self, mine: Tried) -> Pick:
        others = self.tried[RANDOM, mine.k]
        scores = {target: self._scores(mine, target) for target in self.targets}
        random = {target: self._scores(others, target) for target in self.targets}
        both = [target for target in self.targets if len(scores[target]) and len(random[target])]
        return Pick(
            tried=mine,
            value=float(scores[self.target].mean()),
            worth={
                target: Worth(0.0, None, None, None)
                if mine is others
                else self._worth(mine, scores[target], random[target])
                for target in both
            },
            over_balanced=self._over_balanced(mine, scores[self.target]),
            deviations=(
                mine.deviation(self.target, self.gold),
                float(random[self.target].mean(axis=1).std(ddof=1)),
            ),
        )

    def _over_balanced(self, mine: Tried, scores: Float) -> Worth | None:
        """The gain over label-balanced random sets; None without labels, and of drawn sets."""
        if self.labels is None or mine.name in RANDOM_SETS:
            return None
        if mine.k > 1:
            return self._worth(mine, scores, self._scores(self.tried[RANDOM_BALANCED, mine.k], self.target))
        return self._worth(mine, scores, self._scores(self.tried[RANDOM, 1], self.target), self._of_a_label())

    def _worth(self, mine: Tried, scores: Float, others: Float, chances: Float | None = None) -> Worth:
        return worth_of(scores, others, self.clusters, chances, self.crossed.get((mine.name, mine.k), 0.0))

    def _of_a_label(self) -> Float:
        """How likely each candidate [C] is drawn if every label has the same chance, up to a factor."""
        assert self.labels is not None
        _, label, times = np.unique(self.labels, return_inverse=True, return_counts=True)
        return 1 / times[label]

    def _scores(self, tried: Tried, target: str) -> Float:
        """Scores [sets, n]; of no set where the target is not scored."""
        scores = tried.of(target, self.gold)
        return np.empty((0, len(self.clusters))) if scores is None else scores

    def _verdict(self, pick: Pick, p: float) -> str:
        return verdict_of(pick.over(self.target), p, pick.worth, self.target)


def verdict_of(gains: Sequence[Worth], p: float, worth: Mapping[str, Worth], target: str) -> str:
    """What is said of chosen demonstrations, by what they gain in `target` and whether that costs accuracy.

    gains: over random ones, and over others that they have to beat too; p is that of the weakest, corrected. worth:
    target → gain over random ones.
    """
    score = worth.get(TASK_SCORE) if COLUMNS[target] != COLUMNS[TASK_SCORE] else None
    if score is not None and score.high is not None and score.high < 0:
        return LOWERS_ACCURACY
    if p < LEVEL and all(one.gain > 0 for one in gains):
        return BEATS_RANDOM
    return WORSE if gains[0].high is not None and gains[0].high < 0 else UNDECIDED


def recommended_first(picks: Sequence[Pick], margin: float) -> list[Pick]:
    """The pick to ship, then the others from the best on.

    It is the one with the fewest demonstrations among those that beat random choice, and random sets, whose mean score
    comes within `margin` of the best of these, and of two as large the random one: a gain within the margin is of no
    use. Of random sets the label-balanced ones count, where there are any.
    """
    names = {pick.tried.name for pick in picks}
    drawn = RANDOM_BALANCED if RANDOM_BALANCED in names else RANDOM
    open_to_all = [pick for pick in picks if pick.verdict == BEATS_RANDOM or pick.tried.name == drawn]
    best = max(pick.value for pick in open_to_all)
    near = [pick for pick in open_to_all if pick.value >= best - margin]
    ship = min(near, key=lambda pick: (pick.tried.k, not pick.drawn, -pick.value))
    rest = sorted((pick for pick in picks if pick is not ship), key=lambda pick: -pick.value)
    return [replace(ship, verdict=RANDOM_WILL_DO) if ship.drawn else ship, *rest]


def _chosen(picks: Sequence[Pick], target: str) -> Iterator[dict[str, Any]]:
    """Rows of the table shots_summary, one per set that was chosen."""
    for pick in picks:
        if not pick.drawn:
            gain, low, high, _ = pick.worth[target]
            found = {"value": pick.value, "gain": gain, "low": low, "high": high, "verdict": pick.verdict}
            yield {"name": pick.tried.name, "k": pick.tried.k, "number": 0, **found}


def _missing(tried: Mapping[tuple[str, int], Tried], settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of the table shots_summary, one per set that a data set without labels does not have."""
    for k in settings["sizes"]:
        for name in (RANDOM_BALANCED, *settings["choose"]):
            if (name, k) not in tried:
                yield {"name": name, "k": k, "number": 0, "reason": NO_LABELS}


def _line(
    pick: Pick, members: Sequence[Mapping[str, Any]], common: Mapping[str, Any], zero_shot_tokens: float
) -> dict[str, Any]:
    """A line of the file of picks; `members` are rows of the sample."""
    gain = pick.worth[common["target"]]
    return {
        "name": pick.tried.name,
        "k": pick.tried.k,
        "verdict": pick.verdict,
        **common,
        "value": pick.value,
        **gain._asdict(),
        "interval": OF_DRAWN if pick.drawn else OF_CHOSEN,
        "over_balanced": pick.over_balanced and pick.over_balanced._asdict(),
        "gains": {target: worth._asdict() for target, worth in pick.worth.items()},
        "deviation_order": pick.deviations[0],
        "deviation_random": pick.deviations[1],
        "prompt_tokens": pick.tried.prompt_tokens,
        "added_tokens": pick.tried.prompt_tokens - zero_shot_tokens,
        **shown(members),
    }


def shown(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Demonstrations as they are shipped: where they stand, as text, as turns of a chat and as rows of the data set."""
    return {
        "candidates": [row["id"] for row in members],
        "split": members[0]["split"],
        "source_rows": [row["source_row"] for row in members],
        "prefix": prefix_of(members),
        "messages": messages_of(members),
        "documents": [json.loads(row["document"]) for row in members],
    }


def write_picks(lines: Sequence[Mapping[str, Any]], task: Task, picks_out: str | Path, task_out: str | Path) -> None:
    """Write picks, the recommended one first, and a task of the harness that uses that one."""
    write_text(picks_out, "".join(f"{json.dumps(line, ensure_ascii=False, allow_nan=False)}\n" for line in lines))
    name = f"{task.key.partition('.')[2]}_pick"
    write_text(task_out, with_demonstrations(task.name, name, lines[0]["documents"], task_out))
    logger.info("recommended: %s, %d demonstrations: %s", lines[0]["name"], lines[0]["k"], lines[0]["verdict"])


def unit_of(target: str) -> str:
    """The unit of a target's margin: a key of `verdict.margin`."""
    return "share_of_items" if COLUMNS[target].startswith("correct") else "nats"


def model_of(source: str | Path) -> dict[str, Any]:
    """The model's name, and where it came from with version or commit."""
    record = json.loads(Path(source).read_text(encoding="utf-8"))
    return {"name": Path(source).parent.name, **{key: value for key, value in record.items() if key not in PRIVATE}}
