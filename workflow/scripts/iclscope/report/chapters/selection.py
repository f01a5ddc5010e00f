"""What the selectors are worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from iclscope.report.drawing import grid
from iclscope.report.parts import Caption, Chapter, Material, Sheet
from iclscope.report.style import BLUE, GREEN, GREY, INK, PALE, new_figure
from iclscope.tables import BEST_POSSIBLE
from iclscope.verdict import findings, selectors
from iclscope.verdict.results import Results
from iclscope.verdict.wording import TARGET_UNITS, count, interval, p_value, percent, quantity, target_name

CHAPTER = Chapter("selection", "selectors", "Value of the selectors")

KIND_COLOURS = {"static": BLUE, "query": GREEN}
CHOICES = {"static": "one for all items", "query": "one per item"}
COLUMNS = 5  # panels side by side


def _targets(results: Results) -> list[str]:
    """The primary target and the first one."""
    return list(dict.fromkeys([results.target, results.targets[0]]))


def _caption_of_gain(results: Results) -> Caption:
    found = [text(results, target) for target in _targets(results) for text in (selectors.finding, selectors.copying)]
    conclusion = " ".join(filter(None, found))
    return Caption(
        "What a selector is worth",
        f"Mean score of the demonstrations that each selector picks from random pools of {count(results.pool)} "
        "candidates, minus that of a random one, on items it has not seen, with 95 % intervals; "
        f"{findings.size(results)}. Blue: one candidate for all items; green: a candidate for each item; dotted: what "
        f"the truly best candidate of a pool gains; search_n: the best candidate on n items. {conclusion}",
        f"Forest plot of the gain of each selector over a random demonstration. {conclusion}",
    )


@CHAPTER.figure("gain of the selectors", tables=("selection", "gains"), caption=_caption_of_gain)
def selector_gain(results: Results) -> Figure:
    """Gain of every selector over a random demonstration with its interval: primary target and first target."""
    targets = _targets(results)
    order = results.selection.filter(target=targets[0]).sort("gain", maintain_order=True)
    names = [name for name in order["selector"] if name != selectors.RANDOM]
    figure = new_figure(height=0.8 + 0.24 * len(names))
    axes = figure.subplots(1, len(targets), sharey=True, squeeze=False).ravel()
    for ax, target in zip(axes, targets, strict=True):
        rows = {row["selector"]: row for row in results.selection.filter(target=target).iter_rows(named=True)}
        for height, name in enumerate(names):
            if name in rows and rows[name]["gain"] is not None:
                _forest_row(ax, height, rows[name])
        for best in results.gains.filter(target=target, selector=BEST_POSSIBLE, pool=results.pool)["gain"]:
            ax.axvline(best, color=GREY, linewidth=0.9, linestyle=":")
        ax.axvline(0, color=INK, linewidth=0.7)
        ax.text(0, len(names) - 0.45, "random", ha="center", va="bottom", fontsize=6.5)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(-0.6, len(names) - 0.4)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set_title(target_name(target), pad=12)
        ax.set_xlabel(f"gain over random ({TARGET_UNITS.get(target, 'score')})")
    return figure


def _forest_row(ax: Axes, height: int, row: Mapping[str, Any]) -> None:
    """One selector: its gain as a dot, its interval as a line."""
    colour = KIND_COLOURS[row["kind"]]
    if row["low"] is not None and row["high"] is not None:
        ax.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=1.4, solid_capstyle="butt")
    ax.plot(row["gain"], height, "o", color=colour, markersize=5)


def _caption_of_pools(results: Results) -> Caption:
    conclusion = selectors.best_possible(results, results.target)
    return Caption(
        "What more candidates to pick from are worth",
        f"Gain over random in {target_name(results.target)} against the number of candidates that a selector picks "
        f"from, in random pools of the study's candidates, a panel per selector; {findings.size(results)}. Bands: 95 % "
        "intervals, each for one size of the pools; hollow: the single pick from all candidates, which has none. Grey "
        "line: the expected maximum of true quality. Random choice gains 0 in every pool. In pools of "
        f"{count(results.pool)}, in which the verdict judges: {conclusion}",
        f"Curves of gain against the size of the pool, a panel per selector. {conclusion}",
    )


@CHAPTER.figure("gain against candidates to pick from", tables=("gains",), caption=_caption_of_pools)
def gain_by_pool(results: Results) -> Figure:
    """Gain of every selector against the size of the pool, with bands, under the best that is possible."""
    points = results.gains.filter(target=results.target)
    names = [name for name in points["selector"].unique(maintain_order=True) if name != BEST_POSSIBLE]
    rows = -(-len(names) // COLUMNS)
    figure = new_figure(height=0.4 + 1.15 * max(1, rows))
    best = points.filter(selector=BEST_POSSIBLE)
    kinds = dict(results.selection.filter(target=results.target).select("selector", "kind").iter_rows())
    axes = grid(figure, len(names), COLUMNS)
    for ax, name in zip(axes, names, strict=True):
        ax.axhline(0, color=INK, linewidth=0.7)
        ax.plot(best["pool"], best["gain"], color=GREY, linewidth=0.9)
        _curve(ax, points.filter(selector=name), KIND_COLOURS[kinds[name]])
        ax.set_title(name, fontsize=6.5, pad=2)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_minor_locator(NullLocator())
    sizes = points["pool"].unique().sort().to_list()
    ticks = sorted({sizes[0], results.pool, sizes[-1]})
    for ax in axes:
        ax.set_xticks(ticks, [str(size) for size in ticks])
    figure.supxlabel("candidates to pick from", fontsize=8)
    figure.supylabel(f"gain over random ({TARGET_UNITS.get(results.target, 'score')})", fontsize=8)
    return figure


def _curve(ax: Axes, points: pl.DataFrame, colour: str) -> None:
    """The gains of one selector with their band, and what has no interval as a hollow dot."""
    sure = points.filter(pl.col("low").is_not_null())
    ax.fill_between(sure["pool"], sure["low"], sure["high"], color=PALE, linewidth=0)
    ax.plot(points["pool"], points["gain"], color=colour, linewidth=1.2)
    alone = points.filter(pl.col("low").is_null())
    ax.plot(alone["pool"], alone["gain"], "o", color=colour, markersize=3, markerfacecolor="white")


@CHAPTER.sheet
def in_primary_target(material: Material) -> Sheet:
    """The selectors in the target that the verdict is about."""
    return _sheet(material.results, material.results.target, material.selectors)


@CHAPTER.sheet
def in_first_target(material: Material) -> Sheet | None:
    """The selectors in the first target; None if it is the primary one."""
    results = material.results
    return None if results.target == results.targets[0] else _sheet(results, results.targets[0], {})


def _sheet(results: Results, target: str, judged: Mapping[str, Mapping[str, Any]]) -> Sheet:
    """Value of the selectors in one target, best first; judged: the verdict's entry of each selector that has one.

    “As search on” is the exchange rate: on how many items a plain search must try every candidate to gain as much. “Own
    label”: share of items whose demonstration has their label, where one is picked for each.
    """
    ordered = results.selectors(target)
    ordered = ordered.sort("gain", descending=True, nulls_last=True, maintain_order=True)
    header = ["selector", "chooses", "score", "gain", "95 % interval", "p", "p (study)", "regret"]
    header += ["as search on", "95 % interval", "tokens read"]
    labels = ordered["label_match"].count() > 0
    header += ["own label"] if labels else []
    rows = []
    for row in ordered.iter_rows(named=True):
        cells = _cells(row)
        cells += [percent(row["label_match"]) if row["label_match"] is not None else ""] if labels else []
        rows.append([*cells, *_beliefs(judged.get(row["selector"], {}))] if judged else cells)
    unit = TARGET_UNITS.get(target, "score")
    caption = (
        f"What the selectors are worth in {target_name(target)} ({unit}) and pools of {count(results.pool)} "
        "candidates, and on how many items a search equals them"
    )
    beliefs = ["expected", "beats random", "is the best", "verdict"] if judged else []
    return Sheet(caption, [*header, *beliefs], rows, words=(0, 1, len(header) + 3))


def _cells(row: Mapping[str, Any]) -> list[str]:
    """What the selection table says of a selector."""
    reference = row["selector"] == selectors.RANDOM
    return [
        row["selector"],
        CHOICES[row["kind"]],
        quantity(row["value"]),
        "reference" if reference else quantity(row["gain"], signed=True),
        "" if reference else interval(row["low"], row["high"], signed=True),
        "" if row["p"] is None else p_value(row["p"]),
        "" if row["p_study"] is None else p_value(row["p_study"]),
        quantity(row["regret"]),
        *_exchange(row),
        count(round(row["cost"])),
    ]


def _exchange(row: Mapping[str, Any]) -> Sequence[str]:
    """The exchange rate and its interval; beyond half of the items no search was tried."""
    if row["gain"] is None:
        return quantity(None), ""
    rate, low, high = (
        "> half" if row[name] is None else quantity(row[name]) for name in ("search_items", "search_low", "search_high")
    )
    return rate, low if low == high else f"{low} to {high}"


def _beliefs(entry: Mapping[str, Any]) -> Sequence[str]:
    """What the verdict believes of a selector: expected gain, chance to beat random choice and to be the best."""
    expected = quantity(entry["expected"], signed=True) if "expected" in entry else ""
    chances = [percent(entry[name]) if name in entry else "" for name in ("positive", "best")]
    return [expected, *chances, entry.get("status", "")]
