"""What a gain costs over all data sets, for the index: selectors by mean gain and by the tokens that a choice takes."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from iclscope.report.chapters import price
from iclscope.report.parts import Caption, Picture
from iclscope.report.style import new_figure, styled
from iclscope.tables import BEST_POSSIBLE
from iclscope.verdict.results import Results
from iclscope.verdict.wording import TARGET_UNITS, plural, target_name

Place = tuple[Results, str]  # results and one of their quality targets


def _panels(studies: Sequence[Results]) -> dict[str, list[Place]]:
    """Unit → results with the target that has it: the primary one, and the first one where that has another unit."""
    panels: dict[str, list[Place]] = {}
    for results in studies:
        units = {TARGET_UNITS.get(target, "score"): target for target in reversed(price.targets_of(results))}
        for unit in reversed(units):
            panels.setdefault(unit, []).append((results, units[unit]))
    return panels


def pooled(places: Sequence[Place]) -> pl.DataFrame:
    """Selectors over data sets: mean gain with its interval, geometric mean cost; cheapest first.

    Data sets are independent; models of one share its candidates and items, so that their errors are taken to be the
    same. `everywhere` is false for a selector that some model or data set does not have.
    """
    parts = [
        price.competitors_of(results, target).select(
            "selector",
            "kind",
            "gain",
            "cost",
            half=(pl.col("high") - pl.col("low")) / 2,
            dataset=pl.lit(results.dataset),
        )
        for results, target in places
    ]
    whole = pl.when(pl.col("half").is_not_null().all())
    cost = pl.col("cost").log1p().mean().exp() - 1
    of_data_set = pl.concat(parts).group_by("dataset", "selector", maintain_order=True)
    means = of_data_set.agg(
        pl.col("kind").first(), pl.col("gain").mean(), cost, half=whole.then(pl.col("half").mean()), studies=pl.len()
    )
    found = means.group_by("selector", maintain_order=True).agg(
        pl.col("kind").first(),
        pl.col("gain").mean(),
        cost,
        half=whole.then((pl.col("half") ** 2).sum().sqrt() / pl.len()),
        everywhere=pl.col("studies").sum() == len(places),
    )
    found = found.with_columns(low=pl.col("gain") - pl.col("half"), high=pl.col("gain") + pl.col("half"))
    return found.sort("cost", pl.col("gain").neg(), maintain_order=True)


def _frontier(found: pl.DataFrame) -> pl.DataFrame:
    """That of selectors which every model and data set has: means over other data sets do not compare."""
    return price.frontier(found.filter("everywhere"))


def _best_possible(places: Sequence[Place]) -> list[float]:
    """The expected maximum, averaged likewise; none where it is unknown in one of them."""
    found: dict[str, list[float]] = {}
    for results, target in places:
        mine = results.gains.filter(target=target, selector=BEST_POSSIBLE, pool=results.pool)["gain"].to_list()
        if not mine:
            return []
        found.setdefault(results.dataset, []).extend(mine)
    return [sum(sum(gains) / len(gains) for gains in found.values()) / len(found)]


def caption(studies: Sequence[Results]) -> Caption:
    """Caption of the figure, with the frontier in words."""
    panels = _panels(studies)
    conclusion = " ".join(price.in_words(unit, _frontier(pooled(places))) for unit, places in panels.items())
    data_sets = plural(len({results.dataset for results in studies}), "data set")
    models = plural(len({results.model for results in studies}), "model")
    return Caption(
        "What a gain costs, over all data sets",
        f"Mean over {data_sets} and {models} of the gain over a random demonstration, on items that the selector has "
        "not seen, against the tokens that a model reads before the choice (geometric mean), with 95 % intervals for "
        "these data sets. Blue: one candidate for all items; green: a candidate for each item; grey, at the left edge: "
        "no model is needed; open: not in every data set. Steps: the frontier, the largest gain for at most so many "
        "tokens; its points were chosen for being large, and lie too high. Dotted: the truly best candidate of a pool. "
        f"{conclusion}",
        f"Scatter plot of mean gain against tokens on a logarithmic axis, a point for each selector. {conclusion}",
    )


@styled
def gain_by_tokens(studies: Sequence[Results]) -> Figure:
    """Mean gain of every selector with its interval against what it reads, a panel for each unit."""
    panels = _panels(studies)
    figure = new_figure(height=3.2)
    axes = figure.subplots(1, len(panels), squeeze=False).ravel()
    for ax, (unit, places) in zip(axes, panels.items(), strict=True):
        found = pooled(places)
        price.draw_panel(ax, found, _frontier(found), _best_possible(places))
        names = dict.fromkeys(target_name(target) for _, target in places)
        ax.set_title(f"{' or '.join(names)}, {plural(len({r.dataset for r, _ in places}), 'data set')}")
        ax.set_ylabel(f"mean gain over random ({unit})")
    return figure


def picture(studies: Sequence[Results], tables: Sequence[str | Path]) -> Picture:
    """The figure with its caption; tables: the files that it is drawn from."""
    return Picture("gain_by_tokens_over_all", gain_by_tokens(studies), caption(studies), tables)
