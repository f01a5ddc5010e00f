"""Models compared on one data set: does a good demonstration stay good after a swap of models?"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclscope.report.parts import Caption, Chapter
from iclscope.report.style import BLUE, GREY, INK, PALE, new_figure
from iclscope.verdict.across import agreement
from iclscope.verdict.results import Results
from iclscope.verdict.wording import TARGET_UNITS, correlation_interval, count, target_name, two_decimals

CHAPTER = Chapter("models", "models", "Across models")

BEST = 5  # candidates of the first model that are marked


def shared_target(studies: Sequence[Results]) -> str:
    """The quality target that all models are compared in: the primary one."""
    return studies[0].target


def _caption(studies: Sequence[Results], effect: float) -> Caption:
    """`effect` is the smallest useful one, above which agreement must lie to be shown."""
    target = shared_target(studies)
    found = []
    for row in agreement(studies, effect):
        if row["target"] == target:
            within = correlation_interval(row["low"], row["high"])
            pair = " and ".join(row["models"])
            found.append(f"{pair}: ρ = {two_decimals(row['rho'])} (95 % interval {within}), {row['status']}")
    limit = f"against a smallest useful ρ of {effect:g}"
    conclusion = f"Correlation of true quality, over disjoint items, {limit}: {'; '.join(found)}."
    return Caption(
        "Quality of the candidates across models",
        f"Mean {target_name(target)} of each of {count(studies[0].headline_of(target)['candidates'])} candidates with "
        f"one model against another. Dashed: the means; blue: the {BEST} best candidates of the model on the "
        "horizontal axis. Both models met the same items, so that the cloud shows noise that they share, too. "
        f"{conclusion}",
        f"Scatter plots of candidate quality between models. {conclusion}",
    )


@CHAPTER.figure("quality across models", tables=("quality", "agreement"), caption=_caption)
def quality_across_models(studies: Sequence[Results]) -> Figure:
    """Quality of every candidate with one model against that with another, a panel per pair of models."""
    pairs = list(combinations(studies, 2))
    columns = min(2, len(pairs))
    figure = new_figure(height=0.3 + 3.2 * math.ceil(len(pairs) / columns))
    grid = figure.subplots(math.ceil(len(pairs) / columns), columns, squeeze=False).ravel()
    for ax in grid[len(pairs) :]:
        ax.remove()
    for ax, (first, second) in zip(grid, pairs, strict=False):
        _panel(ax, first, second, shared_target(studies))
    return figure


def _panel(ax: Axes, first: Results, second: Results, target: str) -> None:
    both = first.quality.filter(target=target).join(
        second.quality.filter(target=target), on="candidate", suffix="_other"
    )
    best = both.sort("value", descending=True, maintain_order=True).head(BEST)
    ax.plot(both["value"], both["value_other"], "o", color=GREY, markersize=3, alpha=0.7)
    ax.plot(best["value"], best["value_other"], "o", color=BLUE, markersize=4.5)
    dashed: dict[str, Any] = {"color": GREY, "linewidth": 0.7, "linestyle": (0, (4, 2))}
    ax.axvline(both["value"].mean(), **dashed)  # type: ignore[arg-type]
    ax.axhline(both["value_other"].mean(), **dashed)  # type: ignore[arg-type]
    unit = TARGET_UNITS.get(target, "score")
    ax.set(xlabel=f"{target_name(target)} with {first.model} ({unit})", ylabel=f"with {second.model}")


# What a source of the variance of a score is called.
SOURCES = {
    "candidate": "candidate: how good it is",
    "push": "candidate's push towards a label",
    "rest": "candidate × item",
    "item": "item: how hard it is",
}


NO_PARTS = "The primary target is no plain mean over items of which the study has the scores."


def _parts(studies: Sequence[Results]) -> dict[str, tuple[float, float]]:
    """Source → variance of a score in the primary target that the models share, and that each has alone."""
    table = studies[0].variance.filter(target=_plain_mean(studies))
    found = {(of, source): value for of, source, value in table.select("of", "source", "variance").iter_rows()}
    return {name: (found["shared", name], found["own", name]) for name in SOURCES if ("shared", name) in found}


def _plain_mean(studies: Sequence[Results]) -> str:
    """The primary target, of a balanced one the same without: components are those of a plain mean over items."""
    return shared_target(studies).removesuffix("_balanced")


def _share(shared: float, own: float) -> float | None:
    """Share of a component that models have in common; estimates below zero count as zero, None without anything."""
    total = max(shared, 0) + max(own, 0)
    return max(shared, 0) / total if total > 0 else None


def _caption_of_shares(studies: Sequence[Results], effect: float) -> Caption:
    parts = _parts(studies)
    share = _share(*parts["candidate"]) if parts else None
    if not parts:
        conclusion = NO_PARTS
    elif share is None:
        conclusion = "That some candidates are better than others cannot be told from nothing."
    else:
        conclusion = f"Of how good a candidate is, {round(100 * share)} % is shared by the models."
    return Caption(
        "What models share of a score",
        f"Variance components of one score in {target_name(_plain_mean(studies))}, a bar for each source. Blue: what "
        f"all {len(studies)} models have in common, so that it holds for a model as these are; pale: what each model "
        "has alone. A bar left of zero is an estimate of nothing. Candidate × item is the noise of quality; how hard "
        f"an item is moves no candidate's rank. {conclusion}",
        f"Stacked bars of variance components, shared by models and each model's own. {conclusion}",
    )


@CHAPTER.figure("what models share", tables=("variance",), caption=_caption_of_shares)
def shared_by_models(studies: Sequence[Results]) -> Figure:
    """Variance components of a score: the part that models share and the part that each has alone, a bar per source."""
    parts = _parts(studies)
    figure = new_figure(height=2.2)
    ax = figure.subplots()
    for height, (shared, own) in enumerate(parts.values()):
        ax.barh(height, shared, height=0.6, color=BLUE, label=None if height else "shared by the models")
        start = max(shared, 0) if own > 0 else min(shared, 0)
        ax.barh(height, own, left=start, height=0.6, color=PALE, label=None if height else "each model's own")
    if parts:
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    else:
        ax.text(0.5, 0.5, NO_PARTS, ha="center", transform=ax.transAxes, color=INK)
    ax.axvline(0, color=INK, linewidth=0.7)
    ax.set_yticks(range(len(parts)), [SOURCES[name] for name in parts])
    ax.invert_yaxis()
    ax.set(xlabel=f"variance of one score in {target_name(_plain_mean(studies))}")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return figure
