"""What the study can show before it runs: the power to find a useful effect, and to rule one out, by size.

Needs no model. Variance components are those of a pilot where its results are there, else the declared ones.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import brentq

from iclscope.runtime.files import write_text
from iclscope.runtime.jobs import Job
from iclscope.statistics.signals.power import ENOUGH, Plan, detect, exclude, independent_signals
from iclscope.tables import HEADLINE, POWER, VARIANCE
from iclscope.tasks import samples

logger = logging.getLogger(__name__)

CANDIDATES = (24, 48, 100, 150, 200, 300, 400, 500, 700, 1000, 1500, 2000)
ITEMS = (24, 48, 100, 200, 500, 1000)
# Where neither the config nor results say it: variances in units of the candidates', and independent signals. Measured
# in the default study: gold log probability on BoolQ and ASDiv, and the null line of its 14,400 activation signals.
DECLARED = {"noise": 3.5, "push": 2.4, "signals": 6000.0}
LARGEST = 0.95  # effect that is looked for
UNBALANCED = 0.6  # share of the commonest of two labels, for a primary target that is not balanced

Row = Mapping[str, Any]


def write(
    settings: Mapping[str, Any],
    pilots: Mapping[str, Mapping[str, Collection[str | Path]]],
    pools: Sequence[str | Path],
    table_out: str | Path,
    text_out: str | Path,
    job: Job,
) -> None:
    """Write the power of the study by size as a table, and in words what the configured study can show.

    settings: the whole config. pilots: data set → table (variance and headline) → files of it that are there. pools: of
    the data sets that take all of their rows.
    """
    rows, texts = [], []
    whole = [
        name for name, entry in settings["datasets"].items() if samples.ALL in (entry["candidates"], entry["items"])
    ]
    pool = dict(zip(whole, pools, strict=True))
    for name, entry in settings["datasets"].items():
        plan, source = plan_of(settings, **pilots[name])
        logger.info("%s: %s, noise %.3g, %.0f independent signals", name, source, plan.rest, plan.signals)
        size = (
            samples.count_of(pool.get(name, ""), entry, samples.CANDIDATE, f"datasets.{name}"),
            samples.count_of(pool.get(name, ""), entry, samples.ITEM, f"datasets.{name}"),
        )
        mine = list(power_rows(plan, size))
        rows += [{"dataset": name, "source": source, **row} for row in mine]
        texts.append(f"{name} ({source}): {in_words(plan, size, mine)}")
    POWER.write(pl.DataFrame(rows, schema=POWER.schema), table_out, job.provenance)
    write_text(text_out, "\n\n".join(texts) + "\n")


def plan_of(
    settings: Mapping[str, Any], variance: Collection[str | Path] = (), headline: Collection[str | Path] = ()
) -> tuple[Plan, str]:
    """What the study is about, and whether a pilot says so: the noisiest of its models, or the declared components."""
    declared, limits = settings.get("power", DECLARED), settings["correlation"]
    primary, tables = settings["quality"]["primary"], len(settings["models"]) * len(settings["datasets"])
    base = primary.removesuffix("_balanced")
    noise, push, signals, source = declared["noise"], declared["push"], declared["signals"], "as declared"
    found = [dict(_components(path, base)) for path in variance]
    known = [parts for parts in found if parts.get("candidate", 0) > 0]
    if known:
        worst = max(known, key=lambda parts: parts["rest"] / parts["candidate"])
        noise, push = (worst[name] / worst["candidate"] for name in ("rest", "push"))
        lines = pl.concat(HEADLINE.read(path).filter("primary", pl.col("null_95") > 0) for path in headline)
        counted = [independent_signals(*row) for row in lines.select("null_95", "candidates").iter_rows()]
        signals, source = max(counted, default=signals), "from results that are there"
    return Plan(
        candidate=1.0,
        rest=noise,
        push=max(0.0, push),
        tilt=0.0 if primary != base else (UNBALANCED - 0.5) ** 2 * 2,
        signals=signals * tables,
        smallest=limits["smallest_useful_effect"],
        least_ceiling=limits["least_ceiling"],
    ), source


def _components(path: str | Path, target: str) -> Iterator[tuple[str, float]]:
    """Source and variance of one score."""
    return VARIANCE.read(path).filter(target=target, of="score").select("source", "variance").iter_rows()


def power_rows(plan: Plan, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """A row per number of candidates and items: those of CANDIDATES and ITEMS, and the configured one."""
    grid = sorted({*((c, i) for c in CANDIDATES for i in ITEMS), size})
    candidates, items = np.array(grid).T
    alpha = 1 - plan.noise(items.astype(float))
    parts = zip(alpha, detect(plan, candidates, items), exclude(plan, candidates, items), strict=True)
    for (number, questions), (reliability, found, excluded) in zip(grid, parts, strict=True):
        yield {
            "candidates": number,
            "items": questions,
            "configured": (number, questions) == size,
            "alpha": float(reliability),
            "detect": float(found),
            "exclude": float(excluded),
        }


def in_words(plan: Plan, size: tuple[int, int], rows: Sequence[Row]) -> str:
    """What the configured study can and cannot show, and the least size of the grid that can."""
    mine = next(row for row in rows if row["configured"])
    least = least_effect(plan, size)
    effect = f"{least:.2f}" if least else f"none up to {LARGEST:g}"
    text = (
        f"{size[0]} candidates x {size[1]} items measure quality with alpha = {mine['alpha']:.2f}. A signal with the "
        f"smallest useful effect, |rho| = {plan.smallest:g} without noise, is found in {mine['detect']:.0%} of such "
        f"studies; where no signal has an effect, a useful one is ruled out for all of them in {mine['exclude']:.0%}. "
        f"Found in {ENOUGH:.0%}: {effect}."
    )
    for name, what in (("detect", "To find the smallest useful effect"), ("exclude", "To rule it out for all signals")):
        enough = [row for row in rows if row[name] >= ENOUGH]
        if mine[name] < ENOUGH:
            text += f" {what} in {ENOUGH:.0%}: {_least_size(enough)}."
    return text


def _least_size(enough: Sequence[Row]) -> str:
    if not enough:
        return f"more than {CANDIDATES[-1]} candidates x {ITEMS[-1]} items"
    least = min(enough, key=lambda row: row["candidates"] * row["items"])
    return f"{least['candidates']} candidates x {least['items']} items"


def least_effect(plan: Plan, size: tuple[int, int]) -> float | None:
    """The effect that studies of this size find with probability 0.8; None if it is larger than LARGEST."""
    candidates, items = (np.array([float(number)]) for number in size)

    def missing(effect: float) -> float:
        return float(detect(plan, candidates, items, effect)[0]) - ENOUGH

    return float(brentq(missing, 1e-3, LARGEST, xtol=1e-4)) if missing(LARGEST) > 0 else None
