"""Quality of the candidates, and how reliably the items tell them apart."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from iclscope.report.drawing import LABEL_BOX
from iclscope.report.parts import Caption, Chapter, Material, Sheet
from iclscope.report.style import BLUE, GREEN, GREY, INK, PALE, VERMILION, new_figure
from iclscope.statistics.reliability import CEILING_WANTED
from iclscope.verdict.findings import size
from iclscope.verdict.results import Results
from iclscope.verdict.wording import (
    TARGET_UNITS,
    correlation_interval,
    count,
    enumeration,
    plural,
    quantity,
    target_name,
    two_decimals,
)

CHAPTER = Chapter("reliability", "reliability", "Quality and its reliability")

ERROR_BARS_UP_TO = 120  # candidates; beyond that a band is easier to read


def _caption_of_quality(results: Results) -> Caption:
    lead = results.reliability_of(results.target)
    values = results.quality.filter(pl.col("target") == results.target)["value"].to_list()
    target, unit = target_name(results.target), TARGET_UNITS.get(results.target, "score")
    spread = f"Best and worst candidate differ by {quantity(max(values) - min(values))} in {target} ({unit})"
    conclusion = (
        f"{spread}; α = {two_decimals(lead['alpha'])} is the share of that variance that is real."
        if lead["alpha"] is not None
        else f"{spread}, no more than noise alone would show."
    )
    return Caption(
        "Quality of the candidates as demonstrations",
        f"Mean score over {plural(lead['items'], 'item')} of each of {plural(lead['candidates'], 'candidate')}, sorted "
        "worst to best, with its standard error, which includes how much the items differ in difficulty. Orange: the "
        "curve that noise alone would draw if all candidates were equally good; the more the dots depart from it, the "
        f"more of the differences is real. {conclusion}",
        f"Sorted dot plots of candidate quality, one panel for each quality target. {conclusion}",
    )


@CHAPTER.figure("quality of the candidates", tables=("quality", "reliability"), caption=_caption_of_quality)
def quality_distribution(results: Results) -> Figure:
    """Quality of every candidate, sorted, with standard errors, one panel per target, and what noise alone would do."""
    figure = new_figure(height=0.4 + 1.9 * math.ceil(len(results.targets) / 2))
    grid = figure.subplots(math.ceil(len(results.targets) / 2), min(2, len(results.targets)), squeeze=False).ravel()
    for ax in grid[len(results.targets) :]:
        ax.remove()
    for ax, target in zip(grid, results.targets, strict=False):
        _quality_panel(ax, results.quality.filter(target=target).sort("value"), results.reliability_of(target))
        ax.set_title(target_name(target), color=BLUE if target == results.target else INK)
        ax.set_ylabel(TARGET_UNITS.get(target, ""))
    key = {"transform": grid[0].transAxes, "ha": "right", "fontsize": 6.5}
    grid[0].text(0.99, 0.12, "candidates ± standard error", color=BLUE, **key)
    grid[0].text(0.99, 0.03, "what noise alone would show", color=VERMILION, **key)
    figure.supxlabel("candidates, worst to best", fontsize=8)
    return figure


def _quality_panel(ax: Axes, quality: pl.DataFrame, reliability: Mapping[str, Any]) -> None:
    rank = np.arange(1, quality.height + 1)
    value, error = quality["value"].to_numpy(), quality["standard_error"].to_numpy()
    if quality.height <= ERROR_BARS_UP_TO:
        ax.errorbar(rank, value, yerr=error, fmt="o", color=BLUE, markersize=2, elinewidth=0.5, ecolor="#9fc5de")
    else:
        ax.fill_between(rank, value - error, value + error, color=BLUE, alpha=0.2, linewidth=0)
        ax.plot(rank, value, color=BLUE)
    alpha = reliability["alpha"] or 0.0
    expected = norm.ppf((rank - 0.375) / (quality.height + 0.25))  # Blom's approximation to normal order statistics
    noise = reliability["mean"] + math.sqrt(1 - alpha) * reliability["sd"] * expected
    ax.plot(rank, noise, color=VERMILION, linewidth=1.2)
    lines: list[tuple[float, str, str, Any]] = [(reliability["mean"], "mean", GREY, "-")]
    if reliability["zero_shot"] is not None:
        lines.append((reliability["zero_shot"], "zero-shot", GREEN, (0, (4, 2))))
    highest = max(height for height, *_ in lines)
    for height, name, colour, dashes in lines:
        ax.axhline(height, color=colour, linewidth=0.8, linestyle=dashes)
        side = "bottom" if height == highest else "top"
        label: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": side, "fontsize": 6.5, "color": colour}
        ax.text(1.01, height, f"{name} {quantity(height)}", **label)
    ax.set_title(f"α {two_decimals(reliability['alpha'])}", loc="right", fontsize=7, fontweight="normal")


def _caption_of_curve(results: Results) -> Caption:
    defined = [row for row in results.reliability.iter_rows(named=True) if row["alpha"] is not None]
    needs = [
        f"{target_name(row['target'])} {count(row['items_needed'])}"
        for row in defined
        if row["items_needed"] is not None
    ]
    conclusion = (
        f"Items needed for a ceiling of 0.95: {enumeration(needs)}."
        if needs
        else "Alpha is undefined for every target, so there is no curve."
    )
    return Caption(
        "Noise ceiling against the number of items",
        "The largest correlation with quality that a perfect signal would reach, had the study more or fewer items "
        f"(Spearman-Brown, from α of {size(results)}). Dots: this study; dotted: 0.95; blue: the target of "
        f"the other figures. {conclusion}",
        f"Rising curves of the noise ceiling against the number of items, one for each quality target. {conclusion}",
    )


@CHAPTER.figure("reliability", tables=("reliability",), caption=_caption_of_curve)
def reliability_curve(results: Results) -> Figure:
    """Noise ceiling against the number of items (Spearman-Brown), a line per target with a defined alpha."""
    figure = new_figure(height=3.0)
    ax = figure.subplots()
    defined = results.reliability.filter(pl.col("alpha").is_not_null())
    current = int(results.reliability["items"][0])
    furthest = max(20 * current, *(defined["items_needed"].fill_null(0).clip(0, 100 * current).to_list() or [0]))
    items = np.geomspace(max(1.0, current / 8), furthest, 200)
    labels: dict[float, list[str]] = {}
    for row in defined.sort(pl.col("target") == results.target).iter_rows(named=True):  # the primary line on top
        k, alpha = items / row["items"], row["alpha"]
        leads = row["target"] == results.target
        colour = BLUE if leads else GREY
        ceiling = np.sqrt(k * alpha / (1 + (k - 1) * alpha))
        ax.plot(items, ceiling, color=colour, linewidth=1.8 if leads else 1.0, zorder=3 if leads else 2)
        ax.plot(current, math.sqrt(alpha), "o", color=colour, markersize=4.5, zorder=4)
        labels.setdefault(round(math.sqrt(alpha), 2), []).append(target_name(row["target"]))
    _dot_labels(ax, 1.15 * current, labels)
    undefined = [target_name(t) for t in results.targets if t not in defined["target"]]
    if undefined:
        ax.text(0.99, 0.03, f"undefined: {', '.join(undefined)}", ha="right", color=GREY, transform=ax.transAxes)
    ax.axhline(CEILING_WANTED, color=INK, linewidth=0.7, linestyle=":")
    ax.axvline(current, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)))
    ax.text(current, 1.01, f"this study: {current} items", ha="center", color=GREY, transform=ax.get_xaxis_transform())
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set(xlabel="items", ylabel="noise ceiling of a correlation", ylim=(0, 1.0), xlim=(items[0], items[-1]))
    ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, CEILING_WANTED])
    return figure


def _dot_labels(ax: Axes, x: float, labels: Mapping[float, list[str]]) -> None:
    """Names right below the dots of this study, pushed apart where dots meet; labels: height → names."""
    previous = math.inf
    for height in sorted(labels, reverse=True):
        previous = min(height - 0.03, previous - 0.055)
        text = f"{', '.join(labels[height])} {two_decimals(height)}"
        ax.text(x, previous, text, va="center", fontsize=7, color=INK, bbox=LABEL_BOX, zorder=5)


# What a source of the variance of quality is called.
SOURCES = {
    "level": "good on all labels alike",
    "push": "push towards the commonest label",
    "both": "the two going together",
    "rest": "noise of these items",
}
SOURCE_COLOURS = {"level": BLUE, "push": VERMILION, "both": PALE, "rest": GREY}


def _shares(results: Results) -> dict[str, dict[str, float]]:
    """Target → source → share of the variance of its quality; targets whose quality varies."""
    table = results.variance.filter(of="quality")
    shares = {}
    for (target,), part in table.group_by("target", maintain_order=True):
        total = part["variance"].sum()
        if total > 0:
            shares[str(target)] = {row["source"]: row["variance"] / total for row in part.iter_rows(named=True)}
    return shares


def _caption_of_sources(results: Results) -> Caption:
    parts = [
        f"{target_name(target)}: {round(100 * share['level'])} % level, {round(100 * share['push'])} % push, "
        f"{round(100 * share['rest'])} % noise"
        for target, share in _shares(results).items()
    ]
    conclusion = f"{'; '.join(parts)}." if parts else "Quality does not vary."
    return Caption(
        "Where differences in quality come from",
        f"Shares of the variance of quality, a mean over these items ({size(results)}). Blue: how good a candidate is "
        "on all gold labels alike; orange: a push towards the labels that more of these items have, which on other "
        "items would be worth nothing; pale: that the two go together (left of zero: that they oppose each other); "
        f"grey: noise, which falls with the number of items. {conclusion}",
        f"Stacked bars of the sources of the variance of quality, one for each quality target. {conclusion}",
    )


@CHAPTER.figure("sources of quality", tables=("variance",), caption=_caption_of_sources)
def sources_of_quality(results: Results) -> Figure:
    """Shares of the variance of quality by source, a bar per target; negative shares to the left."""
    shares = _shares(results)
    figure = new_figure(height=1.2 + 0.34 * max(1, len(shares)))
    ax = figure.subplots()
    for height, share in enumerate(shares.values()):
        ends = {True: 0.0, False: 0.0}  # of the bars to the right of zero and to the left
        for source, part in share.items():
            label = SOURCES[source] if not height else None
            colour = SOURCE_COLOURS[source]
            ax.barh(height, part, left=ends[part > 0], height=0.6, color=colour, edgecolor="white", label=label)
            ends[part > 0] += part
    if shares:
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    else:
        ax.text(0.5, 0.5, "quality does not vary", ha="center", transform=ax.transAxes, color=INK)
    ax.axvline(0, color=INK, linewidth=0.7)
    ax.set_yticks(range(len(shares)), [target_name(target) for target in shares])
    ax.set(ylim=(len(shares) - 0.5, -0.5), xlabel="share of the variance of quality")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return figure


@CHAPTER.sheet
def components(material: Material) -> Sheet | None:
    """Variance components of one score and of quality; None if no target is a plain mean over items."""
    table = material.results.variance
    if table.is_empty():
        return None
    header = ("target", "candidate", "item", "push", "candidate × item", "level", "push of quality", "both", "noise")
    names = [("score", name) for name in ("candidate", "item", "push", "rest")]
    names += [("quality", name) for name in ("level", "push", "both", "rest")]
    rows = []
    for (target,), part in table.group_by("target", maintain_order=True):
        found = {(of, source): value for _, of, source, value in part.iter_rows()}
        rows.append((target_name(str(target)), *(quantity(found[name]) for name in names)))
    caption = "Variance components of one score (first four) and of quality, its mean over these items"
    return Sheet(caption, header, rows)


@CHAPTER.sheet
def targets(material: Material) -> Sheet:
    """Reliability and noise ceiling, a row per target."""
    header = (
        "target",
        "unit",
        "zero-shot",
        "mean",
        "SD",
        "α",
        "95 % interval",
        "split half",
        "ceiling",
        "items for 0.95",
        "why undefined",
    )
    rows = [
        (
            target_name(row["target"]),
            TARGET_UNITS.get(row["target"], ""),
            quantity(row["zero_shot"]),
            quantity(row["mean"]),
            quantity(row["sd"]),
            two_decimals(row["alpha"]),
            correlation_interval(row["alpha_low"], row["alpha_high"]),
            two_decimals(row["split_half"]),
            two_decimals(row["ceiling"]),
            count(row["items_needed"]),
            row["reason"] or "",
        )
        for row in material.results.reliability.iter_rows(named=True)
    ]
    return Sheet("How reliably the items tell the candidates apart", header, rows, words=(0, 1, len(header) - 1))
