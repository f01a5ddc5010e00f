"""What the selectors are worth."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclscope.report.parts import Caption, Chapter, Material, Sheet
from iclscope.report.style import BLUE, GREEN, GREY, INK, new_figure
from iclscope.verdict import findings
from iclscope.verdict.results import Results
from iclscope.verdict.wording import TARGET_UNITS, count, interval, p_value, quantity, target_name

CHAPTER = Chapter("selection", "selectors", "Value of the selectors")

KIND_COLOURS = {"static": BLUE, "query": GREEN, "bound": GREY}
CHOICES = {"static": "one for all items", "query": "one per item", "bound": "with every score of the half"}


def _caption_of_gain(results: Results) -> Caption:
    splits = max(results.selection["splits"])
    targets = dict.fromkeys([results.target, results.targets[0]])
    conclusion = " ".join(findings.selectors(results, target) for target in targets)
    return Caption(
        "What a selector is worth",
        "Mean score of the demonstrations that each selector picks, minus that of a random one, on items it has not "
        f"seen (averaged over random halves of the items: {count(splits)}), with 95 % intervals; "
        f"{findings.size(results)}. Blue: one candidate for all items; green: a candidate for each item; hollow grey: "
        "the oracle, which knows every score on the other half; search_n: the best candidate on n items. "
        f"{conclusion}",
        f"Forest plot of the gain of each selector over a random demonstration. {conclusion}",
    )


@CHAPTER.figure("gain of the selectors", tables=("selection",), caption=_caption_of_gain)
def selector_gain(results: Results) -> Figure:
    """Gain of every selector over a random demonstration with its interval: leading target and first target."""
    targets = list(dict.fromkeys([results.target, results.targets[0]]))
    order = results.selection.filter(target=targets[0]).sort("gain", maintain_order=True)
    selectors = [name for name in order["selector"] if name != "random"]
    figure = new_figure(height=0.8 + 0.24 * len(selectors))
    axes = figure.subplots(1, len(targets), sharey=True, squeeze=False).ravel()
    for ax, target in zip(axes, targets, strict=True):
        rows = {row["selector"]: row for row in results.selection.filter(target=target).iter_rows(named=True)}
        for height, name in enumerate(selectors):
            if name in rows:
                _forest_row(ax, height, rows[name])
        ax.axvline(0, color=INK, linewidth=0.7)
        ax.text(0, len(selectors) - 0.45, "random", ha="center", va="bottom", fontsize=6.5)
        ax.set_yticks(range(len(selectors)), selectors)
        ax.set_ylim(-0.6, len(selectors) - 0.4)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set_title(target_name(target), pad=12)
        ax.set_xlabel(f"gain over random ({TARGET_UNITS.get(target, 'score')})")
    return figure


def _forest_row(ax: Axes, height: int, row: Mapping[str, Any]) -> None:
    """One selector: its gain as a dot, its interval as a line; a bound is hollow with a line through the panel."""
    colour = KIND_COLOURS[row["kind"]]
    bound = row["kind"] == "bound"
    if bound:
        ax.axvline(row["gain"], color=colour, linewidth=0.8, linestyle=":")
    if row["low"] is not None and row["high"] is not None:
        ax.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=1.4, solid_capstyle="butt")
    ax.plot(row["gain"], height, "o", color=colour, markersize=5, markerfacecolor="white" if bound else colour)


@CHAPTER.sheet
def in_leading_target(material: Material) -> Sheet:
    """The selectors in the target that the verdict is about."""
    return _sheet(material.results, material.results.target, material.statuses)


@CHAPTER.sheet
def in_first_target(material: Material) -> Sheet | None:
    """The selectors in the first target; None if it is the leading one."""
    results = material.results
    return None if results.target == results.targets[0] else _sheet(results, results.targets[0], {})


def _sheet(results: Results, target: str, statuses: Mapping[str, str]) -> Sheet:
    """Value of the selectors in one target, best first; statuses: selector → verdict, for those that have one.

    “As search on” is the exchange rate: on how many items a plain search must try every candidate to gain as much.
    """
    header = ["selector", "chooses", "score", "gain", "95 % interval", "p", "p (Holm)", "gain of 5", "of 10"]
    header += ["regret", "as search on", "tokens read"]
    ordered = results.selection.filter(pl.col("target") == target).sort("gain", descending=True, maintain_order=True)
    rows = []
    for row in ordered.iter_rows(named=True):
        reference = row["selector"] == "random"
        cells = [
            row["selector"],
            CHOICES[row["kind"]],
            quantity(row["value"]),
            "reference" if reference else quantity(row["gain"], signed=True),
            "" if reference else interval(row["low"], row["high"], signed=True),
            "" if row["p"] is None else p_value(row["p"]),
            "" if row["p_holm"] is None else p_value(row["p_holm"]),
            quantity(row["top_5"], signed=True),
            quantity(row["top_10"], signed=True),
            quantity(row["regret"]),
            "> half" if row["search_items"] is None else quantity(row["search_items"]),
            count(round(row["cost"])),
        ]
        rows.append([*cells, statuses.get(row["selector"], "")] if statuses else cells)
    unit = TARGET_UNITS.get(target, "score")
    caption = (
        f"What the selectors are worth in {target_name(target)} ({unit}), and on how many items a search equals them"
    )
    return Sheet(caption, [*header, "verdict"] if statuses else header, rows, words=(0, 1, len(header)))
