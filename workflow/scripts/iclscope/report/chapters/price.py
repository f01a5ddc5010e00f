"""What a gain costs: every selector by what it gains and by what a model has to read for its choice."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclscope.report.drawing import LABEL_BOX
from iclscope.report.parts import Caption, Chapter
from iclscope.report.style import BLUE, GREEN, GREY, INK, VERMILION, new_figure
from iclscope.tables import BEST_POSSIBLE
from iclscope.verdict import findings
from iclscope.verdict.results import Results
from iclscope.verdict.wording import TARGET_UNITS, count, plural, quantity, target_name

CHAPTER = Chapter("price", "gain and cost", "What a gain costs")

KIND_COLOURS = {"static": BLUE, "query": GREEN}
FREE = 0.5  # of the smallest number of tokens that any selector reads: where one stands that reads none


def _targets(results: Results) -> list[str]:
    return list(dict.fromkeys([results.target, results.targets[0]]))


def _competitors(results: Results, target: str) -> pl.DataFrame:
    """Selectors other than random with a gain, cheapest first and of equals the best."""
    mine = results.selection.filter(pl.col("selector") != "random", pl.col("gain").is_not_null(), target=target)
    return mine.sort("cost", pl.col("gain").neg(), maintain_order=True)


def frontier(competitors: pl.DataFrame) -> pl.DataFrame:
    """Those that gain more than random choice and than every other that reads no more; cheapest first."""
    before = pl.col("gain").cum_max().shift(1, fill_value=0.0)
    return competitors.filter(pl.col("gain") > pl.max_horizontal(before, 0.0))


def _conclusion(results: Results, target: str) -> str:
    best = frontier(_competitors(results, target))
    if best.is_empty():
        return f"In {target_name(target)} nothing gains more than random choice."
    steps = [
        f"{row['selector']} ({count(round(row['cost']))} tokens, {quantity(row['gain'], signed=True)})"
        for row in best.iter_rows(named=True)
    ]
    return f"In {target_name(target)} the frontier is {', '.join(steps)}."


def _caption(results: Results) -> Caption:
    conclusion = " ".join(_conclusion(results, target) for target in _targets(results))
    free = int((_competitors(results, results.target)["cost"] == 0).sum())
    edge = f"At the left edge, in grey: {plural(free, 'selector')} without a model. " if free else ""
    return Caption(
        "Gain against tokens read",
        "Gain over a random demonstration, on items that the selector has not seen, against the tokens that a model "
        f"reads before the choice from a pool of {results.pool}, with 95 % intervals; {findings.size(results)}. Blue: "
        f"one candidate for all items; green: a candidate for each item. {edge}Steps: the frontier, the largest gain "
        "for at most so many tokens; its points were chosen for being large, and lie too high. Dotted: the truly best "
        f"candidate of a pool. {conclusion}",
        f"Scatter plot of gain against tokens on a logarithmic axis, a point for each selector. {conclusion}",
    )


@CHAPTER.figure("gain against tokens read", tables=("selection", "gains"), caption=_caption)
def gain_by_tokens(results: Results) -> Figure:
    """Gain of every selector with its interval against what it reads, under the frontier: primary and first target."""
    targets = _targets(results)
    figure = new_figure(height=2.9)
    axes = figure.subplots(1, len(targets), squeeze=False).ravel()
    for ax, target in zip(axes, targets, strict=True):
        ax.set_xscale("log")
        competitors = _competitors(results, target)
        read = competitors.filter(pl.col("cost") > 0)["cost"].to_list() or [1.0]
        edge = FREE * min(read)
        _draw(ax, competitors.with_columns(at=pl.col("cost").clip(lower_bound=edge)).to_dicts())
        best = frontier(competitors).with_columns(at=pl.col("cost").clip(lower_bound=edge))
        _draw_frontier(ax, best, max(read))
        for best_possible in results.gains.filter(target=target, selector=BEST_POSSIBLE, pool=results.pool)["gain"]:
            ax.axhline(best_possible, color=GREY, linewidth=0.9, linestyle=":")
        ax.axhline(0, color=INK, linewidth=0.7)
        ax.text(
            1, 0, "random", transform=ax.get_yaxis_transform(), ha="right", va="bottom", fontsize=6.5, bbox=LABEL_BOX
        )
        ax.set_title(target_name(target))
        ax.set_xlabel("tokens read before the choice")
        ax.set_ylabel(f"gain over random ({TARGET_UNITS.get(target, 'score')})")
    return figure


def _draw(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A point with its interval for each selector, grey where no model reads anything."""
    for row in rows:
        colour = KIND_COLOURS[row["kind"]] if row["cost"] else GREY
        if row["low"] is not None and row["high"] is not None:
            ax.plot([row["at"]] * 2, [row["low"], row["high"]], color=colour, linewidth=0.8, alpha=0.5)
        ax.plot(row["at"], row["gain"], "o", color=colour, markersize=4)


def _draw_frontier(ax: Axes, best: pl.DataFrame, most: float) -> None:
    """Steps up from one selector to the next that gains more, each with its name."""
    if best.is_empty():
        return
    at, gain = best["at"].to_list(), best["gain"].to_list()
    ax.step([*at, max(most, at[-1])], [*gain, gain[-1]], where="post", color=VERMILION, linewidth=1.0)
    for place, name, height in zip(at, best["selector"], gain, strict=True):
        ax.annotate(
            name, (place, height), (1, 4), textcoords="offset points",
            rotation=60, rotation_mode="anchor", fontsize=6, color=VERMILION,
        )  # fmt: skip
