"""The four figures of docs/explanation/reference-study.md, from results of its config, into docs/images.

PYTHONPATH=workflow/scripts python docs/reference_figures.py results-reference
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from reference_numbers import Study, named, scores_of_sets

from iclscope.report.style import BLUE, GREEN, GREY, INK, VERMILION, new_figure, save, styled

IMAGES = Path(__file__).parent / "images"
COLOURS = {"smollm2-135m": BLUE, "gemma3-270m": VERMILION}
PRICED = {
    "search_half": ("search, half of the items", "o", INK),
    "search_16": ("search, 16 items", "s", INK),
    "search_8": ("search, 8 items", "D", INK),
    "shortlist_4": ("shortlist by the probe, 16 items", "^", GREEN),
    "content_free": ("probe without content", "o", GREEN),
    "activation": ("best activation", "o", BLUE),
    "nearest_encoder": ("nearest by encoder", "o", VERMILION),
}


@styled
def signals(study: Study) -> Figure:
    """Question 1 and 2: what the strongest activation and the content-free probe are worth."""
    pairs = list(study.pairs())
    figure = new_figure(0.6 + 0.32 * len(pairs))
    axes = figure.subplots()
    for place, (model, dataset, said) in enumerate(pairs):
        one, row = (
            said["numbers"],
            study.row("correlation", model, dataset, target=said["target"], family="feature", metric="content_free"),
        )
        sign = np.sign(one["best_rho"])
        low, high = sorted((sign * one["best_value_low"], sign * one["best_value_high"]))
        drawn(axes, place - 0.18, (sign * one["best_value"], low, high), BLUE, "strongest activation, luck taken off")
        axes.plot(abs(one["best_rho"]), place - 0.18, "x", color=BLUE, markersize=4, label="as measured")
        drawn(axes, place + 0.18, (row["rho"], row["low"], row["high"]), GREEN, "probe without content")
        axes.plot([one["ceiling"]] * 2, [place - 0.4, place + 0.4], color=GREY, label="ceiling")
        axes.plot([one["null_95"]] * 2, [place - 0.4, place + 0.4], ":", color=GREY, label="chance stays below")
    axes.set_yticks(range(len(pairs)), [named(model, dataset) for model, dataset, _ in pairs])
    axes.invert_yaxis()
    axes.set_xlabel("|ρ| with quality on items like these, and the ceiling that noise leaves")
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))  # each kind of mark
    axes.legend(once.values(), once, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=6.5)
    return figure


@styled
def prices(study: Study) -> Figure:
    """Question 4: gain of each selector against the tokens that it reads."""
    pairs = list(study.pairs())
    figure = new_figure(7.4)
    grid = figure.subplots(-(-len(pairs) // 2), 2, squeeze=False, sharex=True).ravel()
    for axes, (model, dataset, said) in zip(grid, pairs, strict=False):
        best = study.row("gains", model, dataset, target=said["target"], selector="best_possible", pool=said["pool"])
        axes.axhline(best["gain"], color=GREY, linestyle=":", label="best possible")
        axes.axhline(0, color=GREY)
        for selector, (label, marker, colour) in PRICED.items():
            one = said["selectors"][selector]
            error = [[one["gain"] - one["low"]], [one["high"] - one["gain"]]]
            style = {"fmt": marker, "markersize": 3.5, "color": colour, "label": label}
            axes.errorbar(one["cost"], one["gain"], yerr=error, **style)
        axes.set(xscale="log", title=named(model, dataset), ylabel="nats")
    for axes in grid[-2:]:
        axes.set_xlabel("tokens read before the choice")
    figure.legend(
        *grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=6.5
    )
    return figure


@styled
def swap(study: Study) -> Figure:
    """Question 5: correlation of true qualities between the two models."""
    first = next(model for model, _, _ in study.pairs())
    pairs = [pair for pair in study.pairs() if pair[0] == first]
    figure = new_figure(0.6 + 0.25 * len(pairs))
    axes = figure.subplots()
    for place, (model, dataset, said) in enumerate(pairs):
        wanted = {"target": said["target"], "with_target": said["target"]}
        for row in study.table("agreement", model, dataset).filter(**wanted).iter_rows(named=True):
            if row["with_model"] != model:
                drawn(axes, place, (row["rho"], row["low"], row["high"]), BLUE, "")
    axes.set_yticks(range(len(pairs)), [dataset for _, dataset, _ in pairs])
    axes.invert_yaxis()
    axes.set_xlabel("ρ of true qualities between the models, from products over different items")
    axes.axvline(0, color=GREY)
    return figure


@styled
def sets(study: Study) -> Figure:
    """Question 6: random sets by the one-shot scores of their members."""
    pairs = list(study.pairs())
    figure = new_figure(3.4)
    grid = figure.subplots(2, -(-len(pairs) // 2), squeeze=False).ravel()
    for axes, (model, dataset, _) in zip(grid, pairs, strict=False):
        scores, members = scores_of_sets(study, model, dataset)
        axes.plot(members, scores, "o", markersize=2.5, color=COLOURS.get(model, INK))
        axes.set_title(named(model, dataset).replace(", ", "\n"), fontsize=6)
        axes.xaxis.set_major_locator(MaxNLocator(2))
    figure.supxlabel("mean gold log probability of the members alone, on other items (nats)", fontsize=8)
    figure.supylabel("of the set (nats)", fontsize=8)
    return figure


def drawn(axes: Axes, place: float, found: tuple[float, float, float], colour: str, label: str) -> None:
    """A value with its interval, which need not hold it."""
    value, low, high = found
    axes.plot([low, high], [place, place], color=colour)
    axes.plot(value, place, "o", color=colour, markersize=3.5, label=label)


FIGURES: dict[str, Callable[[Study], Figure]] = {
    "reference-signals": signals,
    "reference-prices": prices,
    "reference-swap": swap,
    "reference-sets": sets,
}

if __name__ == "__main__":
    found = Study(Path(sys.argv[1]))
    for stem, draw in FIGURES.items():
        save(draw(found), IMAGES / stem)
        (IMAGES / f"{stem}.svg").unlink()
