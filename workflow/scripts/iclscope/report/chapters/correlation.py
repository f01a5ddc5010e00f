"""Correlation of the activation signals with quality, by layer, metric and mask, and how much of the best is luck."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from iclscope.report.drawing import grid, reference_labels, reference_lines
from iclscope.report.parts import Caption, Chapter, Material, Sheet
from iclscope.report.style import BLUE, GREY, INK, PALE, VERMILION, new_figure
from iclscope.statistics.intervals import LEVEL
from iclscope.tables import SIGNAL_KEY
from iclscope.verdict.findings import against_null, size
from iclscope.verdict.results import Results, strongest_of
from iclscope.verdict.wording import correlation_interval, count, p_value, plural, target_name, two_decimals

CHAPTER = Chapter("correlation", "correlation", "Correlation by layer and mask")

TOP_SIGNALS = 15
TOP_REASONS = 12


def _caption_by_layer(results: Results) -> Caption:
    headline, target = results.headline_of(results.target), target_name(results.target)
    conclusion = against_null(results)
    return Caption(
        "Correlation by layer, one panel per attention mask",
        f"Spearman's ρ of activation signals with {target}, {_primary(results)}; {size(results)}. Blue: the "
        "mask's strongest signal (metric · site · pooling) with its 95 % interval; grey lines: every metric and site "
        f"under pooling {results.main_pooling}; grey area: the range over all poolings. {_references(headline)} "
        f"{conclusion}",
        f"Line charts of Spearman's rho with {target} against layer, one panel for each attention mask. {conclusion}",
    )


def _references(headline: Mapping[str, Any]) -> str:
    """What the two reference lines mean, and which of them is missing."""
    null, ceiling = headline["null_95"], headline["ceiling"]
    dashed = (
        "There is no null line."
        if null is None
        else f"Dashed: the null line, {two_decimals(null)}, which the largest |ρ| of all signals stays under by chance "
        "in 95 of 100 such tables; where items disagree about a signal, more is needed."
    )
    dotted = (
        "The noise ceiling is undefined." if ceiling is None else f"Dotted: the noise ceiling, {two_decimals(ceiling)}."
    )
    return f"{dashed} {dotted}"


def _primary(results: Results) -> str:
    alpha = results.reliability_of(results.target)["alpha"]
    if alpha is None:
        return "the primary quality target, whose differences are no larger than noise"
    return f"the primary quality target (α = {two_decimals(alpha)})"


@CHAPTER.figure("correlation by layer", tables=("correlation", "headline"), caption=_caption_by_layer)
def rho_by_layer(results: Results) -> Figure:
    """Rho against layer, one panel per mask: all signals in grey, the mask's strongest in colour with its interval."""
    signals = results.signals
    headline = results.headline_of(results.target)
    masks = _masks(results)
    layers = signals["layer"].unique().sort().to_list()
    tops = {mask: strongest_of(signals.filter(mask=mask)) for mask in masks}
    reach = _reach(tops.values(), headline["null_95"])
    figure = new_figure(height=0.5 + 1.85 * math.ceil(len(masks) / 2))
    axes = grid(figure, len(masks), columns=2)
    for ax, mask in zip(axes, masks, strict=True):
        mine = signals.filter(mask=mask)
        _grey_lines(ax, mine, results.main_pooling)
        top = tops[mask]
        rising = top is not None and top["rho"] > 0
        reference_lines(ax, headline["null_95"], headline["ceiling"], reach)
        if ax is axes[0]:
            reference_labels(ax, headline["null_95"], headline["ceiling"], reach, side=-1 if rising else 1)
        if top:
            _highlight(ax, mine, top, largest=top == results.strongest)
        else:
            ax.text(0, 1.03, "no defined correlation", transform=ax.transAxes, fontsize=6.5, color=GREY)
        ax.set_title(mask, pad=13)
        ax.set_ylim(-reach, reach)
        ax.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)
    figure.supxlabel("layer", fontsize=8)
    figure.supylabel(f"Spearman's ρ with {target_name(results.target)}", fontsize=8)
    return figure


def _masks(results: Results) -> list[str]:
    """Masks in the order of the correlation table."""
    return results.correlation.filter(family="activation")["mask"].unique(maintain_order=True).to_list()


def _reach(tops: Iterable[dict[str, Any] | None], null: float | None) -> float:
    """Half the height of the scale: everything that is drawn, with some air, but no more than 1."""
    drawn = [abs(top[end]) for top in tops if top for end in ("rho", "low", "high") if top[end] is not None]
    return min(1.0, 1.1 * max([null or 0.0, 0.1, *drawn]))


def _grey_lines(ax: Axes, signals: pl.DataFrame, main_pooling: str) -> None:
    """The range of all signals as a pale area, those of the main pooling as thin lines."""
    extent = signals.group_by("layer").agg(low=pl.col("rho").min(), high=pl.col("rho").max()).sort("layer").drop_nulls()
    ax.fill_between(extent["layer"], extent["low"], extent["high"], color=PALE, alpha=0.6, linewidth=0)
    main = signals.filter(pooling=main_pooling).sort("layer")
    for part in main.partition_by("site", "metric"):
        ax.plot(part["layer"], part["rho"].to_numpy(), color=GREY, linewidth=0.4, alpha=0.7)


def _highlight(ax: Axes, signals: pl.DataFrame, top: Mapping[str, Any], largest: bool) -> None:
    """The series through the strongest signal, its 95 % interval as a band, and its peak as a dot with its value."""
    series = signals.filter(**{key: top[key] for key in SIGNAL_KEY}).sort("layer")
    layer = series["layer"].to_numpy()
    ax.fill_between(layer, series["low"].to_numpy(), series["high"].to_numpy(), color=BLUE, alpha=0.18, linewidth=0)
    ax.plot(layer, series["rho"].to_numpy(), color=BLUE, linewidth=1.3)
    ax.plot(top["layer"], top["rho"], "o", color=BLUE, markersize=4, markeredgecolor="white", markeredgewidth=0.6)
    name = f"{top['metric']} · {top['site']} · {top['pooling']}"
    peak = f"ρ = {two_decimals(top['rho'])} at layer {top['layer']}{' (largest)' if largest else ''}"
    # Left out of the layout: a long name must not narrow the panels.
    ax.text(0, 1.03, f"{name}: {peak}", transform=ax.transAxes, fontsize=6.5, color=BLUE, in_layout=False)


def _caption_of_heatmap(results: Results) -> Caption:
    headline, target = results.headline_of(results.target), target_name(results.target)
    related = results.signals.filter(pl.col("p_study") <= LEVEL).height
    marked = f"So marked: {plural(related, 'signal')}." if related else "No signal reaches that, so there is no dot."
    return Caption(
        "Correlation by metric, site and layer",
        f"Spearman's ρ with {target}, {_primary(results)}; {size(results)}. Each cell shows the pooling with "
        f"the largest |ρ|, so that no signal is hidden; hatched: undefined. A dot marks a p of at most {LEVEL}, "
        f"corrected for all signals of the study. {marked} The null line is "
        f"{two_decimals(headline['null_95'])}, the noise ceiling {two_decimals(headline['ceiling'])}.",
        f"Heat maps of Spearman's rho with {target}, metrics by layers, one for each attention mask. {marked}",
    )


@CHAPTER.figure("correlation by metric and layer", tables=("correlation", "headline"), caption=_caption_of_heatmap)
def rho_heatmap(results: Results) -> Figure:
    """Rho of every metric at every layer and site, one panel per mask, under the pooling where it is strongest.

    So no signal of the family can hide. Hatched where no pooling defines it; a dot: the corrected p is at most 0.05.
    """
    signals = results.signals
    masks = _masks(results)
    strongest_pooling = signals.unique(("mask", "site", "layer", "metric"), keep="first", maintain_order=True)
    order = results.correlation.filter(family="activation").select("site", "metric").unique(maintain_order=True)
    rows = order.sort("site", maintain_order=True).rows()
    layers = signals["layer"].unique().sort().to_list()
    largest = abs(results.strongest["rho"]) if results.strongest else 0.0
    limit = max(results.headline_of(results.target)["null_95"] or 0.0, largest, 0.1)
    figure = new_figure(height=1.0 + math.ceil(len(masks) / 2) * (0.4 + 0.115 * len(rows)))
    axes = grid(figure, len(masks), columns=2)
    for ax, mask in zip(axes, masks, strict=True):
        mesh = _heat_panel(ax, strongest_pooling.filter(mask=mask), rows, layers, limit)
        ax.set_title(mask)
        ax.set_xlabel("layer" if ax.get_subplotspec().is_last_row() else "")  # type: ignore[union-attr]
    axes[0].invert_yaxis()
    bar = figure.colorbar(mesh, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label(f"Spearman's ρ with {target_name(results.target)}")
    bar.outline.set_visible(False)
    return figure


def _heat_panel(ax: Axes, part: pl.DataFrame, rows: list[tuple[str, str]], layers: list[int], limit: float):
    """One mask's heat map; returns the mesh, for the colour bar."""
    rho = np.full((len(rows), len(layers)), np.nan)
    for row in part.filter(pl.col("rho").is_not_null()).iter_rows(named=True):
        cell = rows.index((row["site"], row["metric"])), layers.index(row["layer"])
        rho[cell] = row["rho"]
        if row["p_study"] <= LEVEL:
            ax.plot(cell[1], cell[0], "o", color=INK, markeredgecolor="white", markeredgewidth=0.4, markersize=2.6)
    whole = Rectangle((-0.5, -0.5), len(layers), len(rows), facecolor="#eeeeee", hatch="////", linewidth=0)
    ax.add_patch(whole)
    edges = np.arange(len(layers) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5
    mesh = ax.pcolormesh(*edges, np.ma.masked_invalid(rho), cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    ax.set_yticks(range(len(rows)), [metric for _, metric in rows], fontsize=6)
    ticks = range(0, len(layers), max(1, len(layers) // 6))
    ax.set_xticks(ticks, [str(layers[tick]) for tick in ticks])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for site in dict.fromkeys(site for site, _ in rows):
        inside = [i for i, (s, _) in enumerate(rows) if s == site]
        ax.axhline(inside[-1] + 0.5, color="white", linewidth=2.5)
        ax.text(len(layers) - 0.2, float(np.mean(inside)), site, rotation=270, va="center", fontsize=6.5)
    ax.set_xlim(-0.5, len(layers) - 0.5)
    return mesh


def _caption_of_luck(results: Results) -> Caption:
    headline, target = results.headline_of(results.target), target_name(results.target)
    value, luck = headline["best_value"], headline["luck"]
    conclusion = (
        f"For {target}, {two_decimals(luck)} of {two_decimals(abs(headline['best_rho']))} is the luck of being the "
        f"largest."
        if value is not None
        else f"For {target} it is undefined."
    )
    return Caption(
        "How much of the largest correlation is the luck of being the largest",
        f"Of {plural(headline['signals'] - headline['undefined'], 'activation signal')}; {size(results)}. Diamond: the "
        "largest |ρ|; dot: what it is worth, given that it was chosen for being the largest, with its 95 % interval, "
        f"in the direction of the choice. Ticks: the null line and the noise ceiling. {conclusion}",
        f"Dot plot of the largest correlation and of what it is worth, by target. {conclusion}",
    )


@CHAPTER.figure("luck of the largest", tables=("headline",), caption=_caption_of_luck)
def luck(results: Results) -> Figure:
    """The largest |rho| of each target, and what it is worth without the luck of being the largest."""
    figure = new_figure(height=1.1 + 0.36 * len(results.targets))
    ax = figure.subplots()
    for height, target in enumerate(results.targets):
        _luck_row(ax, height, results.headline_of(target))
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False)
    ax.axvline(0, color=INK, linewidth=0.7)
    ax.set_yticks(range(len(results.targets)), [target_name(target) for target in results.targets])
    ax.get_yticklabels()[results.targets.index(results.target)].set_color(BLUE)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlim=(min(-0.2, ax.get_xlim()[0]), 1), ylim=(len(results.targets) - 0.5, -0.5))
    ax.set_xlabel("Spearman's ρ, in the direction of the choice")
    return figure


def _luck_row(ax: Axes, height: int, headline: Mapping[str, Any]) -> None:
    """One target: null line and ceiling as ticks, the largest |rho|, and its worth with an interval."""
    for name, colour, label in (("null_95", VERMILION, "null line"), ("ceiling", INK, "noise ceiling")):
        if headline[name] is not None:
            ax.vlines(headline[name], height - 0.3, height + 0.3, color=colour, linewidth=1.6, label=label)
    if headline["best_value"] is None:
        ax.text(0.01, height, "undefined", va="center", color=INK)
        return
    sign = 1 if headline["best_rho"] > 0 else -1
    value, low, high = (sign * headline[name] for name in ("best_value", "best_value_low", "best_value_high"))
    ax.plot([low, high], [height, height], color=BLUE, linewidth=1.0)
    ax.plot(abs(headline["best_rho"]), height, "D", color=GREY, markersize=5, label="largest |ρ|")
    ax.plot(value, height, "o", color=BLUE, markersize=6, label="what it is worth")


@CHAPTER.sheet
def top_signals(material: Material) -> Sheet | None:
    """The strongest activation signals for the primary target; None if no correlation is defined."""
    results = material.results
    defined = results.signals.filter(pl.col("rho").is_not_null()).head(TOP_SIGNALS)
    if defined.is_empty():
        return None
    header = (
        "metric",
        "site",
        "mask",
        "pooling",
        "layer",
        "ρ",
        "95 % interval",
        "p alone",
        "corrected p",
        "without noise",
        "given length",
        "and label",
        "and NLL",
        "and zero-shot",
        "corrected p beyond",
        "what may be said",
    )
    rows = [
        (
            row["metric"],
            row["site"],
            row["mask"],
            row["pooling"],
            str(row["layer"]),
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            p_value(row["p"]),
            p_value(row["p_study"]),
            two_decimals(row["latent_rho"]),
            two_decimals(row["partial_length"]),
            two_decimals(row["partial_label"]),
            two_decimals(row["partial_nll"]),
            two_decimals(row["partial_zero_shot"]),
            p_value(row["p_beyond_study"]),
            row["status"],
        )
        for row in defined.iter_rows(named=True)
    ]
    caption = (
        f"The {len(rows)} activation signals with the largest |ρ| with {target_name(results.target)}; from “given "
        "length” on, partial correlations; p is corrected for all signals of the study"
    )
    return Sheet(caption, header, rows, words=(*range(4), len(header) - 1))


@CHAPTER.sheet
def undefined_signals(material: Material) -> Sheet | None:
    """Why activation signals have no correlation with the primary target; None if all have one."""
    signals = material.results.signals
    empty = signals.filter(pl.col("rho").is_null())
    if empty.is_empty():
        return None
    groups = empty.group_by("metric", "reason").agg(pl.len().alias("signals"), pl.col("mask").unique().sort())
    groups = groups.sort("signals", "metric", "reason", descending=[True, False, False])
    rows = [
        (row["metric"], row["reason"] or "no reason given", ", ".join(row["mask"]), count(row["signals"]))
        for row in groups.head(TOP_REASONS).iter_rows(named=True)
    ]
    more = f"; the {TOP_REASONS} commonest of {groups.height} groups" if groups.height > TOP_REASONS else ""
    caption = f"Activation signals without a defined correlation: {count(empty.height)} of {count(signals.height)}"
    return Sheet(caption + more, ("metric", "reason", "masks", "signals"), rows, words=range(3))
