"""Models compared on one data set: does a good demonstration stay good after a swap of models?"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclscope.report.parts import Caption, Chapter
from iclscope.report.style import BLUE, GREY, new_figure
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
