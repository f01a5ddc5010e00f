"""What strategies gain by their learning curves, and whether claims about active learning hold here."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.labelling.claims import claims_of
from iclscope.labelling.curves import ALL, RANDOM
from iclscope.runtime.jobs import Job
from iclscope.statistics.learning_curves import PALM, aulc, forecast, labels_for, mean_of, p_of_flips, palm
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator
from iclscope.tables import LEARNING, LEARNING_CLAIMS, LEARNING_SUMMARY

logger = logging.getLogger(__name__)

ENOUGH = 0.95  # Good's coverage from which new classes are no longer looked for

FLIPS = "flips of learning curves"  # name of a stream of random numbers

Key = tuple[str, str]  # start and strategy
REFERENCE: Key = (RANDOM, RANDOM)


@dataclass(frozen=True)
class Curves:
    """Learning curves on one representation: start and strategy → measure → values [seeds, steps].

    `labelled` [steps]; `probe` [seeds] is the accuracy with all labels of the pool.
    """

    labelled: NDArray[np.int64]
    measures: Mapping[Key, Mapping[str, Float]]
    probe: Float

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Curves":
        """From rows of the table learning."""
        whole = pl.col("strategy") == ALL
        steps = frame.filter(~whole).sort("seed", "labelled", maintain_order=True)
        labelled = steps["labelled"].unique().sort().to_numpy().astype(np.int64)
        measures = {
            (start, strategy): {
                name: part[name].to_numpy().astype(np.float64).reshape(-1, len(labelled))
                for name in ("accuracy", "balanced_accuracy", "classes_seen", "coverage")
            }
            for (start, strategy), part in steps.group_by("start", "strategy", maintain_order=True)
        }
        return cls(labelled, measures, frame.filter(whole).sort("seed")["accuracy"].to_numpy())

    def areas(self, measure: str = "accuracy") -> dict[Key, Float]:
        """Area under the learning curve of every split [seeds]."""
        return {key: aulc(self.labelled, one[measure]) for key, one in self.measures.items()}


def run(
    *, learning: str | Path, settings: Mapping[str, Any], summary_out: str | Path, claims_out: str | Path, job: Job
) -> None:
    """Write the summary of learning curves and the claims; both are empty where there are no curves.

    settings: `margin`, the difference of an accuracy that is of no use.
    """
    table = LEARNING.read(learning)
    found = {str(name): Curves.of(frame) for (name,), frame in table.group_by("representation", maintain_order=True)}
    rows = [row for name, curves in found.items() for row in rows_of(name, curves, settings["margin"], job.seed)]
    areas = {name: curves.areas() for name, curves in found.items()}
    claims = claims_of(areas, {name: curves.probe for name, curves in found.items()}, job.seed) if found else []
    LEARNING_SUMMARY.write(pl.DataFrame(rows, schema=LEARNING_SUMMARY.schema), summary_out, job.provenance)
    LEARNING_CLAIMS.write(pl.DataFrame(claims, schema=LEARNING_CLAIMS.schema), claims_out, job.provenance)
    for claim in claims:
        logger.info("%s: %s", claim["verdict"], claim["sentence"])


def rows_of(representation: str, curves: Curves, margin: float, seed: int) -> Iterator[dict[str, Any]]:
    """The summary of one representation, a row per start and strategy; a strategy `random` is there."""
    areas = curves.areas()
    differences, corrected = _compared(areas, seed)
    balanced, balanced_corrected = _compared(curves.areas("balanced_accuracy"), seed)
    means = {key: one["accuracy"].mean(axis=0) for key, one in curves.measures.items()}
    for key, difference in differences.items():
        mean, alike = (mean_of(one[key], generator(seed, FLIPS)) for one in (differences, balanced))
        yield {
            "representation": representation,
            "start": key[0],
            "strategy": key[1],
            "seeds": len(difference),
            "aulc": float(areas[key].mean()),
            "difference": mean.value,
            "low": mean.low,
            "high": mean.high,
            "p": mean.p,
            "p_maxt": corrected[key],
            "balanced_difference": alike.value,
            "balanced_low": alike.low,
            "balanced_high": alike.high,
            "balanced_p_maxt": balanced_corrected[key],
            "wins": int((difference > margin).sum()),
            "ties": int((np.abs(difference) <= margin).sum()),
            "losses": int((difference < -margin).sum()),
            **_led_to(curves.labelled, means[key], means[REFERENCE]),
            **_discovered(curves.labelled, curves.measures[key]),
            **_described(curves, key, seed),
            "probe_accuracy": float(curves.probe.mean()),
        }


def _compared(areas: Mapping[Key, Float], seed: int) -> tuple[dict[Key, Float], dict[Key, float | None]]:
    """Differences [seeds] to random labels from a random start, and their p corrected for all of them."""
    differences = {key: values - areas[REFERENCE] for key, values in areas.items()}
    others = [key for key in differences if key != REFERENCE]
    corrected: dict[Key, float | None] = dict.fromkeys(differences)
    if others and len(areas[REFERENCE]) > 1:
        family = np.stack([differences[key] for key in others], axis=1)
        p = p_of_flips(family, generator(seed, FLIPS))[1]
        corrected |= {key: float(value) for key, value in zip(others, p, strict=True)}
    return differences, corrected


def _led_to(labelled: NDArray[np.int64], accuracy: Float, reference: Float) -> dict[str, float | None]:
    """Where a mean curve [steps] leads, and how many labels it saves against the `reference` half way."""
    half = len(labelled) // 2
    needed = labels_for(labelled, reference, accuracy, half) if accuracy is not reference else None
    return {
        "accuracy": float(accuracy[-1]),
        "labels_saved": None if needed is None else needed / float(labelled[half]),
        "forecast": forecast(labelled[: half + 1], accuracy[: half + 1], float(labelled[-1])),
        "forecast_double": forecast(labelled, accuracy, 2 * float(labelled[-1])),
    }


def _described(curves: Curves, key: Key, seed: int) -> dict[str, float | None]:
    """PALM's parameters of a curve, each with its spread or not at all."""
    rng = generator(seed, f"curves of PALM from {key[0]} by {key[1]}")
    found = palm(curves.labelled, curves.measures[key]["accuracy"], rng)
    names = [f"palm_{name}{bound}" for name in PALM for bound in ("", "_low", "_high")]
    return dict(zip(names, [None] * len(names) if found is None else found.ravel().tolist(), strict=True))


def _discovered(labelled: NDArray[np.int64], measures: Mapping[str, Float]) -> dict[str, float | int | None]:
    """After how many labels to stop looking for new classes, and what is seen there.

    The first step at which most splits have a coverage of ENOUGH and met no new class in the last batch.
    """
    seen, coverage = measures["classes_seen"], measures["coverage"]
    done = (coverage[:, 1:] >= ENOUGH) & (seen[:, 1:] == seen[:, :-1])
    steps = np.flatnonzero(done.mean(axis=0) > 0.5) + 1
    if not len(steps):
        return {"stop": None, "stop_classes": None, "stop_coverage": None}
    step = int(steps[0])
    return {
        "stop": int(labelled[step]),
        "stop_classes": float(seen[:, step].mean()),
        "stop_coverage": float(coverage[:, step].mean()),
    }
