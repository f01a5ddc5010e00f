"""Captions of the figures: what is drawn, of how many, what the lines mean, and what follows from the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from iclscope.verdict.findings import SIGNIFICANT, against_null, selectors, size
from iclscope.verdict.results import Results
from iclscope.verdict.wording import TARGET_UNITS, count, enumeration, plural, quantity, target_name, two_decimals


@dataclass(frozen=True)
class Caption:
    """Title and caption of a figure, and the text for those who cannot see it."""

    title: str
    text: str
    alt: str


def captions(results: Results) -> dict[str, Caption]:
    """Captions by figure name."""
    return {
        "rho_by_layer": _rho_by_layer(results),
        "rho_heatmap": _rho_heatmap(results),
        "quality_distribution": _quality_distribution(results),
        "reliability_curve": _reliability_curve(results),
        "selector_gain": _selector_gain(results),
        "optimism": _optimism(results),
    }


def overview(studies: Sequence[Results]) -> Caption:
    """Caption of the figure that compares all models and data sets."""
    parts = []
    for results in studies:
        h = results.headline_of(results.target)
        best = None if h["best_rho"] is None else abs(h["best_rho"])
        parts.append(
            f"{results.dataset} with {results.model} ({size(results)}): {two_decimals(best)} against a null line of "
            f"{two_decimals(h['null_95'])} and a ceiling of {two_decimals(h['ceiling'])}"
        )
    return Caption(
        "The largest correlation, between chance and noise",
        "Blue dot: the largest |ρ| of all activation signals with the most reliable quality target. Grey bar: what "
        "max |ρ| stays under by chance in 95 of 100 studies of this size. Black tick: noise ceiling, the most that a "
        "perfect signal would reach. A dot inside the grey bar is what chance alone would show.",
        f"One row per data set and model. {'; '.join(parts)}.",
    )


def _rho_by_layer(results: Results) -> Caption:
    headline, target = results.headline_of(results.target), target_name(results.target)
    conclusion = against_null(results)
    return Caption(
        "Correlation by layer, one panel per attention mask",
        f"Spearman's ρ of activation signals with {target}, {_leading_because(results)}; {size(results)}. Blue: the "
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
        else f"Dashed: the null line, {two_decimals(null)}, which the largest |ρ| of the whole family stays under by "
        "chance in 95 of 100 studies."
    )
    dotted = (
        "The noise ceiling is undefined." if ceiling is None else f"Dotted: the noise ceiling, {two_decimals(ceiling)}."
    )
    return f"{dashed} {dotted}"


def _leading_because(results: Results) -> str:
    alpha = results.reliability_of(results.target)["alpha"]
    if alpha is None:
        return "the first quality target, because none has a defined alpha"
    return f"the most reliable quality target (α = {two_decimals(alpha)})"


def _rho_heatmap(results: Results) -> Caption:
    headline, target = results.headline_of(results.target), target_name(results.target)
    marked = (
        f"So marked: {plural(headline['significant'], 'signal')}."
        if headline["significant"]
        else "No signal reaches that, so there is no dot."
    )
    return Caption(
        "Correlation by metric, site and layer",
        f"Spearman's ρ with {target}, {_leading_because(results)}; {size(results)}. Each cell shows the pooling with "
        f"the largest |ρ|, so that no signal is hidden; hatched: undefined. A dot marks a corrected p below "
        f"{SIGNIFICANT}. {marked} The null line is {two_decimals(headline['null_95'])}, the noise ceiling "
        f"{two_decimals(headline['ceiling'])}.",
        f"Heat maps of Spearman's rho with {target}, metrics by layers, one for each attention mask. {marked}",
    )


def _quality_distribution(results: Results) -> Caption:
    lead = results.reliability_of(results.target)
    values = results.quality.filter(pl.col("target") == results.target)["value"]
    target, unit = target_name(results.target), TARGET_UNITS.get(results.target, "score")
    spread = f"Best and worst candidate differ by {quantity(values.max() - values.min())} in {target} ({unit})"
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


def _reliability_curve(results: Results) -> Caption:
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
        f"(Spearman-Brown, from Cronbach's α of {size(results)}). Dots: this study; dotted: 0.95; blue: the target of "
        f"the other figures. {conclusion}",
        f"Rising curves of the noise ceiling against the number of items, one for each quality target. {conclusion}",
    )


def _selector_gain(results: Results) -> Caption:
    splits = results.selection["splits"].max()
    targets = dict.fromkeys([results.target, results.targets[0]])
    conclusion = " ".join(selectors(results, target) for target in targets)
    return Caption(
        "What a selector is worth",
        "Mean score of the demonstrations that each selector picks, minus that of a random one, on items it has not "
        f"seen (averaged over random halves of the items: {count(splits)}), with 95 % intervals; {size(results)}. "
        "Blue: one candidate for all items; green: a candidate for each item; hollow grey: the oracle, which knows "
        f"every score on the other half; search_n: the best candidate on n items. {conclusion}",
        f"Forest plot of the gain of each selector over a random demonstration. {conclusion}",
    )


def _optimism(results: Results) -> Caption:
    headline, target = results.headline_of(results.target), target_name(results.target)
    held_out, lost = headline["nested_rho"], headline["optimism"]
    conclusion = (
        f"For {target}, {two_decimals(lost)} of {two_decimals(held_out + lost)} is the luck of being chosen."
        if held_out is not None
        else f"For {target} it is undefined."
    )
    return Caption(
        "How much of the best correlation is the luck of being chosen",
        f"Of {plural(headline['signals'] - headline['undefined'], 'activation signal')}; {size(results)}. Hollow: the "
        "largest |ρ| on a random half of candidates and items; filled: ρ of the same signal on the other halves, mean "
        "over splits; the line between them is the optimism. Diamond: the largest |ρ| on everything, to be read "
        f"against the ticks: the null line of the whole family and the noise ceiling. {conclusion}",
        f"Dot plot of the largest correlation where it was chosen and where it was not, by target. {conclusion}",
    )
