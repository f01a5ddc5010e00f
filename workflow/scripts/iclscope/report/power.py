"""The figure of the power of a study: how likely it finds a useful effect, and rules one out, by size."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclscope.plan.power import write
from iclscope.report.style import GREY, INK, VERMILION, new_figure, save, styled
from iclscope.runtime.jobs import Job
from iclscope.statistics.signals.power import ENOUGH
from iclscope.tables import POWER

CLAIMS = {"detect": "a useful effect is found", "exclude": "useful effects are ruled out"}


def run(
    *,
    settings: Mapping[str, Any],
    pilots: Mapping[str, Mapping[str, Collection[str | Path]]],
    pools: Sequence[str | Path],
    table_out: str | Path,
    text_out: str | Path,
    figures_out: Sequence[str | Path],
    job: Job,
) -> None:
    """Write the power of a study, see `plan.power.write`, and draw it as PNG and SVG, of one name: `figures_out`."""
    write(settings, pilots, pools, table_out, text_out, job)
    save(figure_of(POWER.read(table_out)), Path(figures_out[0]).with_suffix(""))


@styled
def figure_of(power: pl.DataFrame) -> Figure:
    """A row of panels per data set: probability of both claims against candidates, a line per number of items."""
    datasets = power["dataset"].unique(maintain_order=True).to_list()
    figure = new_figure(height=0.8 + 1.9 * len(datasets))
    axes = figure.subplots(len(datasets), len(CLAIMS), sharex=True, sharey=True, squeeze=False)
    for row, dataset in zip(axes, datasets, strict=True):
        mine = power.filter(dataset=dataset)
        for ax, (claim, title) in zip(row, CLAIMS.items(), strict=True):
            _panel(ax, mine, claim)
            ax.set_title(f"{dataset}: {title}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", title="items", frameon=False)
    figure.supxlabel("candidates", fontsize=8)
    figure.supylabel("probability", fontsize=8)
    return figure


def _panel(ax: Axes, power: pl.DataFrame, claim: str) -> None:
    own = power.filter("configured").row(0, named=True)
    lines = power.filter(~pl.col("configured") | (pl.len().over("items") > 1))
    numbers = [n for n in lines["items"].unique().sort() if lines.filter(items=n).height > 1]
    for shade, items in zip(np.linspace(0.3, 0.95, len(numbers)), numbers, strict=True):
        part = lines.filter(items=items).sort("candidates")
        ax.plot(part["candidates"], part[claim], color=colormaps["Blues"](shade), label=str(items))
    ax.axhline(ENOUGH, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)))
    ax.plot(own["candidates"], own[claim], "o", color=VERMILION, markersize=5, clip_on=False, zorder=5)
    note = f"{own['candidates']} × {own['items']}"
    ax.annotate(note, (own["candidates"], own[claim]), (4, 4), textcoords="offset points", fontsize=6.5, color=INK)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set_ylim(0, 1)
