"""The study's figures, drawn from its final tables.

Figures of correlations show the two numbers without which a correlation means nothing: the null line (what
max |rho| stays under by chance in 95 of 100 such studies) and the noise ceiling (what a perfect signal would reach).
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.stats import norm

from iclscope.report.style import BLUE, GREEN, GREY, INK, PALE, VERMILION, new_figure, save, styled
from iclscope.verdict.results import SIGNAL_KEY, Results, strongest_of
from iclscope.verdict.wording import TARGET_UNITS, quantity, target_name, two_decimals

logger = logging.getLogger(__name__)

ERROR_BARS_UP_TO = 120  # candidates; beyond that a band is easier to read
GOAL_CEILING = 0.95
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.3}
KIND_COLOURS = {"static": BLUE, "query": GREEN, "bound": GREY}


def run(*, model: str, dataset: str, tables: Mapping[str, str | Path], folder: str | Path) -> None:
    """Draw every figure of one model on one data set into `folder`, as PNG and SVG.

    tables: correlation, headline, quality, reliability and selection → Parquet file.
    """
    results = Results.read(model, dataset, tables)
    logger.info("figures of %s on %s, leading quality target %s", model, dataset, results.target)
    for name, draw in FIGURES.items():
        save(draw(results), Path(folder) / name)


@styled
def rho_by_layer(results: Results) -> Figure:
    """Rho against layer, one panel per mask: all signals in grey, the mask's strongest in colour with its interval."""
    signals = results.signals
    headline = results.headline_of(results.target)
    masks = _masks(results)
    tops = {mask: strongest_of(signals.filter(mask=mask)) for mask in masks}
    reach = _reach(tops.values(), headline["null_95"])
    figure = new_figure(height=0.5 + 1.85 * math.ceil(len(masks) / 2))
    axes = _grid(figure, len(masks), columns=2)
    for ax, mask in zip(axes, masks, strict=True):
        mine = signals.filter(mask=mask)
        _grey_lines(ax, mine, results.main_pooling)
        rising = tops[mask] is not None and tops[mask]["rho"] > 0
        _reference_lines(ax, headline["null_95"], headline["ceiling"], reach)
        if ax is axes[0]:
            _reference_labels(ax, headline["null_95"], headline["ceiling"], reach, side=-1 if rising else 1)
        if tops[mask]:
            _highlight(ax, mine, tops[mask], largest=tops[mask] == results.strongest)
        else:
            ax.text(0, 1.03, "no defined correlation", transform=ax.transAxes, fontsize=6.5, color=GREY)
        ax.set_title(mask, pad=13)
        ax.set_ylim(-reach, reach)
        ax.set_xlim(signals["layer"].min() - 0.5, signals["layer"].max() + 0.5)
    figure.supxlabel("layer", fontsize=8)
    figure.supylabel(f"Spearman's ρ with {target_name(results.target)}", fontsize=8)
    return figure


def _masks(results: Results) -> list[str]:
    """Masks in the order of the correlation table."""
    return results.correlation.filter(family="activation")["mask"].unique(maintain_order=True).to_list()


def _grid(figure: Figure, panels: int, columns: int) -> list[Axes]:
    """`panels` axes in rows of `columns` with common scales; the labels of a scale appear at the margin only."""
    columns = min(columns, panels)
    grid = figure.subplots(math.ceil(panels / columns), columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in grid[panels:]:
        ax.remove()
        grid[list(grid).index(ax) - columns].xaxis.set_tick_params(labelbottom=True)
    return list(grid[:panels])


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


def _reference_lines(ax: Axes, null: float | None, ceiling: float | None, reach: float) -> None:
    """Zero, and on both sides of it the null line and the noise ceiling, where they lie on the scale."""
    ax.axhline(0, color=GREY, linewidth=0.5)
    for height, colour, dashes in ((null, VERMILION, (0, (4, 2))), (ceiling, INK, ":")):
        if height is not None and height <= reach:
            ax.axhline(height, color=colour, linewidth=0.9, linestyle=dashes)
            ax.axhline(-height, color=colour, linewidth=0.9, linestyle=dashes)


def _reference_labels(ax: Axes, null: float | None, ceiling: float | None, reach: float, side: int) -> None:
    """Names of the reference lines on one side of zero (1 above, -1 below); an arrow to a ceiling beyond the scale."""
    outwards, inwards = ("bottom", "top") if side > 0 else ("top", "bottom")
    label = {"transform": ax.get_yaxis_transform(), "fontsize": 6, "ha": "right", "bbox": LABEL_BOX, "zorder": 5}
    if null is not None:
        ax.text(0.99, side * null, "95 % null of max |ρ|", va=inwards, color=VERMILION, **label)
    if ceiling is not None:
        arrow = "" if ceiling <= reach else " ↑" if side > 0 else " ↓"
        text = f"noise ceiling {two_decimals(ceiling)}{arrow}"
        far = null is None or ceiling > null
        ax.text(0.99, side * min(ceiling, reach), text, va=inwards if far else outwards, color=INK, **label)


@styled
def rho_heatmap(results: Results) -> Figure:
    """Rho of every metric at every layer and site, one panel per mask, under the pooling where it is strongest.

    So no signal of the family can hide. Hatched where no pooling defines it, a dot where the corrected p is below 0.05.
    """
    signals = results.signals
    masks = _masks(results)
    strongest_pooling = signals.unique(("mask", "site", "layer", "metric"), keep="first", maintain_order=True)
    order = results.correlation.filter(family="activation").select("site", "metric").unique(maintain_order=True)
    rows = order.sort("site", maintain_order=True).rows()
    layers = signals["layer"].unique().sort().to_list()
    limit = max(results.headline_of(results.target)["null_95"] or 0.0, signals["rho"].abs().max() or 0.0, 0.1)
    figure = new_figure(height=1.0 + math.ceil(len(masks) / 2) * (0.4 + 0.115 * len(rows)))
    axes = _grid(figure, len(masks), columns=2)
    for ax, mask in zip(axes, masks, strict=True):
        mesh = _heat_panel(ax, strongest_pooling.filter(mask=mask), rows, layers, limit)
        ax.set_title(mask)
        ax.set_xlabel("layer" if ax.get_subplotspec().is_last_row() else "")
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
        if row["p_maxt"] is not None and row["p_maxt"] < 0.05:
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
        ax.text(len(layers) - 0.2, np.mean(inside), site, rotation=270, va="center", fontsize=6.5)
    ax.set_xlim(-0.5, len(layers) - 0.5)
    return mesh


@styled
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
    lines = [(reliability["mean"], "mean", GREY, "-")]
    if reliability["zero_shot"] is not None:
        lines.append((reliability["zero_shot"], "zero-shot", GREEN, (0, (4, 2))))
    highest = max(height for height, *_ in lines)
    for height, name, colour, dashes in lines:
        ax.axhline(height, color=colour, linewidth=0.8, linestyle=dashes)
        side = "bottom" if height == highest else "top"
        label = {"transform": ax.get_yaxis_transform(), "va": side, "fontsize": 6.5, "color": colour}
        ax.text(1.01, height, f"{name} {quantity(height)}", **label)
    ax.set_title(f"α {two_decimals(reliability['alpha'])}", loc="right", fontsize=7, fontweight="normal")


@styled
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


@styled
def reliability_curve(results: Results) -> Figure:
    """Noise ceiling against the number of items (Spearman-Brown), a line per target with a defined alpha."""
    figure = new_figure(height=3.0)
    ax = figure.subplots()
    defined = results.reliability.filter(pl.col("alpha").is_not_null())
    current = int(results.reliability["items"][0])
    furthest = max(20 * current, *(defined["items_needed"].fill_null(0).clip(0, 100 * current).to_list() or [0]))
    items = np.geomspace(max(1.0, current / 8), furthest, 200)
    labels: dict[float, list[str]] = {}
    for row in defined.sort(pl.col("target") == results.target).iter_rows(named=True):  # the leading line on top
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
    ax.axhline(GOAL_CEILING, color=INK, linewidth=0.7, linestyle=":")
    ax.axvline(current, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)))
    ax.text(current, 1.01, f"this study: {current} items", ha="center", color=GREY, transform=ax.get_xaxis_transform())
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set(xlabel="items", ylabel="noise ceiling of a correlation", ylim=(0, 1.0), xlim=(items[0], items[-1]))
    ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, GOAL_CEILING])
    return figure


def _dot_labels(ax: Axes, x: float, labels: Mapping[float, list[str]]) -> None:
    """Names right below the dots of this study, pushed apart where dots meet; labels: height → names."""
    previous = math.inf
    for height in sorted(labels, reverse=True):
        previous = min(height - 0.03, previous - 0.055)
        text = f"{', '.join(labels[height])} {two_decimals(height)}"
        ax.text(x, previous, text, va="center", fontsize=7, color=INK, bbox=LABEL_BOX, zorder=5)


@styled
def optimism(results: Results) -> Figure:
    """The best signal of the grid: its |rho| on everything, on the half where it was chosen, and on the other."""
    figure = new_figure(height=1.1 + 0.36 * len(results.targets))
    ax = figure.subplots()
    for height, target in enumerate(results.targets):
        _optimism_row(ax, height, results.headline_of(target))
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, frameon=False)
    ax.axvline(0, color=INK, linewidth=0.7)
    ax.set_yticks(range(len(results.targets)), [target_name(target) for target in results.targets])
    ax.get_yticklabels()[results.targets.index(results.target)].set_color(BLUE)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlim=(min(-0.2, ax.get_xlim()[0]), 1), ylim=(len(results.targets) - 0.5, -0.5))
    ax.set_xlabel("Spearman's ρ, in the direction of the choice")
    return figure


def _optimism_row(ax: Axes, height: int, headline: Mapping[str, Any]) -> None:
    """One target: null line and ceiling as ticks, the loss from choosing to judging as an arrow between two dots."""
    for name, colour, label in (("null_95", VERMILION, "null line"), ("ceiling", INK, "noise ceiling")):
        if headline[name] is not None:
            ax.vlines(headline[name], height - 0.3, height + 0.3, color=colour, linewidth=1.6, label=label)
    if headline["best_rho"] is not None:
        ax.plot(abs(headline["best_rho"]), height, "D", color=GREY, markersize=5, label="largest |ρ|, everything")
    held_out, lost = headline["nested_rho"], headline["optimism"]
    if held_out is None or lost is None:
        ax.text(0.01, height, "undefined", va="center", color=INK)
        return
    ax.plot([held_out, held_out + lost], [height, height], color=BLUE, linewidth=1.0)
    hollow = {"markerfacecolor": "white", "label": "largest |ρ|, half where it was chosen"}
    ax.plot(held_out + lost, height, "o", color=BLUE, markersize=6, **hollow)
    ax.plot(held_out, height, "o", color=BLUE, markersize=6, label="the same signal, other half")


@styled
def overview(studies: Sequence[Results]) -> Figure:
    """The largest |rho| of every model and data set between what chance gives and what noise allows."""
    figure = new_figure(height=0.9 + 0.3 * len(studies))
    ax = figure.subplots()
    for height, results in enumerate(studies):
        headline = results.headline_of(results.target)
        null, ceiling, best = headline["null_95"], headline["ceiling"], headline["best_rho"]
        if null is not None:
            ax.barh(height, null, height=0.62, color=PALE)
            ax.vlines(null, height - 0.31, height + 0.31, color=VERMILION, linewidth=1.6, label="null line")
        if ceiling is not None:
            ax.vlines(ceiling, height - 0.31, height + 0.31, color=INK, linewidth=1.6, label="noise ceiling")
        if best is not None:
            ax.plot(abs(best), height, "o", color=BLUE, markersize=6, label="largest |ρ|")
        else:
            ax.text(0.01, height, "undefined", va="center", color=INK)
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=3, frameon=False)
    names = [f"{r.dataset} · {r.model}\n{target_name(r.target)}" for r in studies]
    ax.set_yticks(range(len(studies)), names)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlim=(0, 1), ylim=(len(studies) - 0.5, -0.5), xlabel="|Spearman's ρ| with candidate quality")
    return figure


FIGURES = {
    "rho_by_layer": rho_by_layer,
    "rho_heatmap": rho_heatmap,
    "quality_distribution": quality_distribution,
    "selector_gain": selector_gain,
    "reliability_curve": reliability_curve,
    "optimism": optimism,
}

# Tables that a figure is drawn from.
SOURCES = {
    "rho_by_layer": ("correlation", "headline"),
    "rho_heatmap": ("correlation", "headline"),
    "quality_distribution": ("quality", "reliability"),
    "selector_gain": ("selection",),
    "reliability_curve": ("reliability",),
    "optimism": ("headline",),
}
