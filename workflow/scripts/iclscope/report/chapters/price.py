"""What a gain costs: every selector by what it gains and by what a model has to read for its choice."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

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
LINES = 22  # of names that a panel has room for, one above the other


def targets_of(results: Results) -> list[str]:
    """The primary target and the first one."""
    return list(dict.fromkeys([results.target, results.targets[0]]))


def competitors_of(results: Results, target: str) -> pl.DataFrame:
    """Selectors other than random with a gain, cheapest first and of equals the best."""
    mine = results.selection.filter(pl.col("selector") != "random", pl.col("gain").is_not_null(), target=target)
    return mine.sort("cost", pl.col("gain").neg(), maintain_order=True)


def frontier(competitors: pl.DataFrame) -> pl.DataFrame:
    """Those that gain more than random choice and than every other that reads no more; cheapest first."""
    before = pl.col("gain").cum_max().shift(1, fill_value=0.0)
    return competitors.filter(pl.col("gain") > pl.max_horizontal(before, 0.0))


def in_words(what: str, best: pl.DataFrame) -> str:
    """A frontier as a sentence; what: the target or unit of the gains."""
    if best.is_empty():
        return f"In {what} nothing gains more than random choice."
    steps = [
        f"{row['selector']} ({count(round(row['cost']))} tokens, {quantity(row['gain'], signed=True)})"
        for row in best.iter_rows(named=True)
    ]
    return f"In {what} the frontier is {', '.join(steps)}."


def _caption(results: Results) -> Caption:
    conclusion = " ".join(
        in_words(target_name(target), frontier(competitors_of(results, target))) for target in targets_of(results)
    )
    free = int((competitors_of(results, results.target)["cost"] == 0).sum())
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
    targets = targets_of(results)
    figure = new_figure(height=2.9)
    axes = figure.subplots(1, len(targets), squeeze=False).ravel()
    for ax, target in zip(axes, targets, strict=True):
        competitors = competitors_of(results, target)
        best_possible = results.gains.filter(target=target, selector=BEST_POSSIBLE, pool=results.pool)["gain"]
        draw_panel(ax, competitors, frontier(competitors), best_possible.to_list())
        ax.set_title(target_name(target))
        ax.set_ylabel(f"gain over random ({TARGET_UNITS.get(target, 'score')})")
    return figure


def draw_panel(ax: Axes, competitors: pl.DataFrame, best: pl.DataFrame, best_possible: Sequence[float]) -> None:
    """Selectors by cost and gain under the frontier `best`, random choice and the expected maximum as lines."""
    ax.set_xscale("log")
    read = competitors.filter(pl.col("cost") > 0)["cost"].to_list() or [1.0]
    at = pl.col("cost").clip(lower_bound=FREE * min(read)).alias("at")
    _draw(ax, competitors.with_columns(at).to_dicts())
    for height in best_possible:
        ax.axhline(height, color=GREY, linewidth=0.9, linestyle=":")
        _name_line(ax, height, "truly best of a pool", GREY, 0.01, "left")  # where no selector is as high
    ax.axhline(0, color=INK, linewidth=0.7)
    _name_line(ax, 0, "random", INK, 1, "right")
    _draw_frontier(ax, best.with_columns(at), max(read))
    ax.set_xlabel("tokens read before the choice")


def _name_line(ax: Axes, height: float, name: str, colour: str, end: float, side: Literal["left", "right"]) -> None:
    """Say what a horizontal line is, above it at `end`, a share of its length, which is the side of the text named."""
    across = ax.get_yaxis_transform()
    ax.text(end, height, name, transform=across, ha=side, va="bottom", fontsize=6.5, color=colour, bbox=LABEL_BOX)


def _draw(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A point with its interval for each selector, grey where no model reads anything, open if not `everywhere`."""
    for row in rows:
        colour = KIND_COLOURS[row["kind"]] if row["cost"] else GREY
        if row["low"] is not None and row["high"] is not None:
            ax.plot([row["at"]] * 2, [row["low"], row["high"]], color=colour, linewidth=0.8, alpha=0.5)
        inside = colour if row.get("everywhere", True) else "white"
        ax.plot(row["at"], row["gain"], "o", color=colour, markersize=4, zorder=4, markerfacecolor=inside)


def _draw_frontier(ax: Axes, best: pl.DataFrame, most: float) -> None:
    """Steps up from one selector to the next that gains more, each with its name."""
    if best.is_empty():
        return
    at, gain = best["at"].to_list(), best["gain"].to_list()
    ax.step([*at, max(most, at[-1])], [*gain, gain[-1]], where="post", color=VERMILION, linewidth=1.0)
    # No selector lies above and left of the frontier, so that its names have room there, each above the one before.
    low, high = ax.get_ylim()
    line, last = (high - low) / LINES, low
    for number, (place, name, height) in enumerate(zip(at, best["selector"], gain, strict=True)):
        last = max(height + 0.2 * line, last + line)
        ax.annotate(
            name, (place, last), (0 if number == 0 else -3, 0), textcoords="offset points", va="bottom",
            ha="left" if number == 0 else "right", fontsize=6, color=VERMILION, bbox=LABEL_BOX,
        )  # fmt: skip
