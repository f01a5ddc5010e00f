"""Which questions to label next: learning curves of strategies, what they gain, and what others have found."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from scipy.stats import t

from iclscope.report.drawing import grid
from iclscope.report.parts import Caption, Chapter, Material, Picture, Sheet
from iclscope.report.style import GREY, new_figure
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import LEARNING, LEARNING_CLAIMS, LEARNING_SUMMARY, REASON
from iclscope.verdict.wording import count, enumeration, interval, p_value, plural, quantity

CHAPTER = Chapter(
    "learning",
    "what to label",
    "Which questions to label next",
    note="A classifier learns from labels that a strategy asks for, batch by batch, on frozen vectors of the "
    "questions; a test set that decides nothing judges it. Intervals are over random splits of this data set.",
)

ALL, RANDOM = "all", "random"
LINES = {RANDOM: "-", "typiclust": (0, (4, 2))}  # by start
COLOURS = {
    "random": "#222222",
    "margin": "#0072B2",
    "badge": "#BF5000",
    "entropy": "#007A5A",
    "coreset": "#A8477F",
    "typiclust": "#8A6D00",
    "probcover": "#3D7FA6",
    "dropquery": "#6b6b6b",
}
COLUMNS = 3  # panels side by side


@CHAPTER.remark
def no_curves(material: Material) -> str | None:
    """Why this data set has no learning curves, where the study has some."""
    if LEARNING.name not in material.learning or _read(material, LEARNING) is not None:
        return None
    return f"No learning curves of this data set: {read_provenance(material.learning[LEARNING.name])[REASON]}."


@CHAPTER.picture
def learning_curves(material: Material) -> Picture | None:
    """Mean accuracy against labels, a panel per representation; None without curves."""
    table, summary = _read(material, LEARNING), _read(material, LEARNING_SUMMARY)
    if table is None or summary is None:
        return None
    probes = dict(summary.select("representation", "probe_accuracy").sort("probe_accuracy", descending=True).rows())
    figure = new_figure(height=0.7 + 2.3 * -(-len(probes) // COLUMNS))
    axes = grid(figure, len(probes), COLUMNS)
    for ax, (name, probe) in zip(axes, probes.items(), strict=True):
        _panel(ax, table.filter(pl.col("strategy") != ALL, representation=name))
        ax.axhline(probe, color=GREY, linewidth=0.9, linestyle=":")
        ax.set_title(name)
    axes[0].legend(frameon=False, fontsize=6.5)
    figure.supxlabel("labels", fontsize=8)
    figure.supylabel("accuracy on the test set", fontsize=8)
    return Picture("learning_curves", figure, _caption(summary), (material.learning["learning"],))


def _panel(ax: Axes, rows: pl.DataFrame) -> None:
    """Curves of one representation, those of random starts with their 95 % bands."""
    for (start, strategy), part in rows.group_by("start", "strategy", maintain_order=True):
        points = part.group_by("labelled", maintain_order=True).agg(
            pl.mean("accuracy"), spread=pl.std("accuracy"), seeds=pl.len()
        )
        x, mean = points["labelled"].to_numpy(), points["accuracy"].to_numpy()
        colour, line = COLOURS.get(str(strategy), GREY), LINES.get(str(start), "-")
        label = str(strategy) if start == RANDOM else None
        ax.plot(x, mean, color=colour, linestyle=line, linewidth=1.1, label=label)
        if start == RANDOM:
            seeds = points["seeds"].to_numpy()
            reach = t.ppf(0.975, seeds - 1) * points["spread"].to_numpy() / np.sqrt(seeds)
            ax.fill_between(x, mean - reach, mean + reach, color=colour, alpha=0.12, linewidth=0)


def _caption(summary: pl.DataFrame) -> Caption:
    said = conclusion(summary)
    return Caption(
        "Accuracy against labels",
        f"Mean accuracy over {plural(summary['seeds'][0], 'random split')} of the data set, a panel per representation "
        "of the questions, best first. Solid: labels begin with a random draw, with 95 % bands; dashed: with a diverse "
        f"one (TypiClust). Dotted: what the classifier reaches with every label of the pool. {said}",
        f"Learning curves, a panel per representation. {said}",
    )


def conclusion(summary: pl.DataFrame) -> str:
    """Which strategies gain over random labels, as far as corrected p values say it."""
    best = summary.sort("probe_accuracy", descending=True).row(0, named=True)["representation"]
    mine = summary.filter(representation=best)
    sure = mine.filter((pl.col("p_maxt") <= 0.05) & (pl.col("difference") > 0)).sort("difference", descending=True)
    names = [_named(row) for row in sure.iter_rows(named=True)]
    if not names:
        return f"On {best}, nothing is shown to gain over random labels."
    gain = quantity(sure["difference"][0], signed=True)
    verb = "gains" if len(names) == 1 else "gain"
    said = f"On {best}, {enumeration(names)} {verb} over random labels, at most {gain} of mean accuracy."
    alike = sure.filter((pl.col("balanced_p_maxt") <= 0.05) & (pl.col("balanced_difference") > 0))
    kept = [_named(row) for row in alike.iter_rows(named=True)]
    if len(kept) == len(names):
        return said
    whom = f"only {enumeration(kept)}" if kept else "none of them" if len(names) > 1 else "it"
    verb = "are shown" if len(kept) > 1 else "is not shown" if whom == "it" else "is shown"
    return f"{said} With every label alike (balanced accuracy), {whom} {verb} to gain."


def _named(row: dict[str, Any]) -> str:
    return row["strategy"] if row["start"] == RANDOM else f"{row['strategy']} after a diverse start"


@CHAPTER.sheet
def strategies(material: Material) -> Sheet | None:
    """What every strategy gains, representations with the best probe first."""
    summary = _read(material, LEARNING_SUMMARY)
    if summary is None:
        return None
    ordered = summary.sort("probe_accuracy", "representation", "aulc", descending=[True, False, True])
    rows = [
        (
            row["representation"],
            row["strategy"],
            row["start"],
            quantity(row["aulc"]),
            *_gain(row),
            "" if row["start"] == row["strategy"] == RANDOM else quantity(row["balanced_difference"], signed=True),
            f"{count(row['wins'])} / {count(row['ties'])} / {count(row['losses'])}",
            quantity(row["accuracy"]),
            "" if row["labels_saved"] is None else f"{quantity(row['labels_saved'])} ×",
            quantity(row["forecast"]) if row["forecast"] is not None else "",
            quantity(row["forecast_double"]) if row["forecast_double"] is not None else "",
            quantity(row["probe_accuracy"]),
        )
        for row in ordered.iter_rows(named=True)
    ]
    header = (
        "questions as", "strategy", "start", "mean accuracy", "gain", "95 % interval", "corrected p", "balanced gain",
        "wins / ties / losses", "at the end", "labels that random takes", "end by forecast", "with twice the labels",
        "with all labels",
    )  # fmt: skip
    caption = (
        "What strategies gain over random labels from a random start, by the mean accuracy over the curve (area under "
        f"it), over {plural(summary['seeds'][0], 'split')}. p: corrected for all starts and strategies of a "
        "representation. Balanced: with every label alike, which naming the commonest one more often does not raise. "
        "A tie: no more than the margin of the verdict. Labels that random takes: for the accuracy half way, as a "
        "multiple; empty: more than were tried. Forecasts: a power law through the first half, and through all"
    )
    return Sheet(caption, header, rows, words=(0, 1, 2))


def _gain(row: dict[str, Any]) -> Sequence[str]:
    if row["start"] == row["strategy"] == RANDOM:
        return "reference", "", ""
    between = "" if row["low"] is None else interval(row["low"], row["high"], signed=True)
    return quantity(row["difference"], signed=True), between, "" if row["p_maxt"] is None else p_value(row["p_maxt"])


@CHAPTER.sheet
def discovery(material: Material) -> Sheet | None:
    """When to stop looking for new classes, by what is seen and by how much is covered."""
    summary = _read(material, LEARNING_SUMMARY)
    if summary is None:
        return None
    rows = [
        (
            row["representation"],
            row["strategy"],
            row["start"],
            "not yet" if row["stop"] is None else f"after {count(row['stop'])} labels",
            "" if row["stop"] is None else quantity(row["stop_classes"]),
            "" if row["stop"] is None else quantity(row["stop_coverage"]),
        )
        for row in summary.iter_rows(named=True)
    ]
    caption = (
        "When to stop looking for new classes: the first step at which, in most splits, the labels cover 95 % (Good's "
        "estimate, 1 minus the share of classes seen once, right for random labels) and the last batch brought no new "
        "class; with the classes that are seen by then"
    )
    header = ("questions as", "strategy", "start", "stop", "classes seen", "coverage")
    return Sheet(caption, header, rows, words=(0, 1, 2, 3))


@CHAPTER.sheet
def described(material: Material) -> Sheet | None:
    """PALM's parameters of every curve, each with its spread."""
    summary = _read(material, LEARNING_SUMMARY)
    known = None if summary is None else summary.filter(pl.col("palm_limit").is_not_null())
    if known is None or known.is_empty():
        return None
    rows = [
        (
            row["representation"],
            row["strategy"],
            row["start"],
            *(
                f"{quantity(row[name])} ({interval(row[f'{name}_low'], row[f'{name}_high'])})"
                for name in ("palm_limit", "palm_delta", "palm_alpha", "palm_beta")
            ),
        )
        for row in known.iter_rows(named=True)
    ]
    caption = (
        "The mean curve as A(1 − (1 − δ)^((n/b + α)^β)) of n labels in batches of b (PALM, arXiv 2507.15381), with "
        "what 95 % of resampled splits give. Where that is wide, many curves fit alike, and a number says nothing of "
        "a strategy"
    )
    header = (
        "questions as",
        "strategy",
        "start",
        "A, what labels lead to",
        "δ, coverage",
        "α, head start",
        "β, growth",
    )
    return Sheet(caption, header, rows, words=(0, 1, 2))


@CHAPTER.sheet
def claims(material: Material) -> Sheet | None:
    """What benchmarks of active learning have found, and whether it is seen here."""
    table = _read(material, LEARNING_CLAIMS)
    if table is None:
        return None
    rows = [
        (
            row["question"],
            row["verdict"],
            row["sentence"],
            "" if row["p_holm"] is None else p_value(row["p_holm"]),
        )
        for row in table.iter_rows(named=True)
    ]
    caption = (
        "What a benchmark of query strategies on frozen embeddings asked (arXiv 2506.01992), and what this data set "
        "says, p corrected for these questions"
    )
    return Sheet(caption, ("question", "verdict", "what was seen", "corrected p"), rows, words=(0, 1, 2))


def _read(material: Material, table: Any) -> pl.DataFrame | None:
    """A table of learning curves; None where the study has none, or this data set has no classes."""
    if table.name not in material.learning:
        return None
    frame: pl.DataFrame = table.read(material.learning[table.name])
    return None if frame.is_empty() else frame
