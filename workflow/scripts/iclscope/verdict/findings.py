"""What the numbers say, in words: the answer and the findings, as templates filled from the tables.

A sentence claims only what its test supports: `no effect` needs an equivalence test, `beyond chance` a corrected p.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from iclscope.statistics.intervals import LEVEL
from iclscope.verdict import selectors
from iclscope.verdict.results import Results, strongest_of
from iclscope.verdict.wording import (
    correlation_interval,
    count,
    enumeration,
    p_phrase,
    plural,
    signal_name,
    target_name,
    two_decimals,
)


@dataclass(frozen=True)
class Finding:
    """One finding: what it is about, and a sentence or two with numbers."""

    topic: str
    text: str


def answer(results: Results, smallest_useful_effect: float) -> str:
    """The study's answer for one model and data set in two sentences."""
    headline, top = results.headline_of(results.target), results.strongest
    target, tested = target_name(results.target), headline["signals"] - headline["undefined"]
    if headline["alpha"] is None:
        return (
            "This run cannot tell: for every quality target the differences between candidates are no larger than "
            f"noise, so that nothing could be seen to predict them. More than {headline['items']} items are needed."
        )
    if top is None:
        return f"This run cannot tell: {no_signal_defined(results)} Other masks, metrics or poolings may vary."
    if headline["significant"]:
        return (
            f"Yes, to a degree: {target} is related beyond chance to {count(headline['significant'])} of "
            f"{plural(tested, 'activation signal')}, most to one with ρ = {two_decimals(top['rho'])} "
            f"({p_phrase(top['p_maxt'], 'corrected p')}; noise ceiling {two_decimals(headline['ceiling'])}). "
            f"{_held_out(headline)}"
        )
    return (
        f"No activation signal predicts {target} beyond chance: the largest |ρ| of {count(tested)} is "
        f"{two_decimals(abs(top['rho']))} ({p_phrase(top['p_maxt'], 'corrected p')}). "
        + _absence(results, smallest_useful_effect)
    )


def no_signal_defined(results: Results) -> str:
    """Why not one activation signal has a correlation."""
    return f"not one activation signal has a defined correlation ({_commonest_reason(results.signals)})."


def all_findings(results: Results, smallest_useful_effect: float) -> list[Finding]:
    """The findings for one model and data set, in the order of the report."""
    return [
        Finding("What was tested", _tested(results)),
        Finding("Noise ceiling", _ceiling(results)),
        Finding("Largest correlation", _largest(results)),
        Finding("Useful effect", _equivalence(results, smallest_useful_effect)),
        Finding("Cheaper signals", _features(results)),
        Finding("Control", _control(results)),
        Finding("Value for selection", selectors.finding(results, results.target)),
    ]


def overall(studies: Sequence[Results]) -> str:
    """The answer over all models and data sets in two sentences; the best rho is that of each leading target."""
    headlines = [results.headline_of(results.target) for results in studies]
    told = [h for h in headlines if h["alpha"] is not None and h["best_rho"] is not None]
    found = [h for h in told if h["significant"]]
    where = f"{plural(len(studies), 'combination')} of model and data set"
    if not told:
        return (
            f"The study cannot tell: in none of {where} are there both reliable differences between candidates and a "
            "signal with a defined correlation. More items are needed."
        )
    largest = max(told, key=lambda h: abs(h["best_rho"]))
    silent = f" ({len(headlines) - len(told)} cannot tell)" if len(told) < len(headlines) else ""
    first = (
        f"In {len(found)} of {where} an activation signal predicts a candidate's quality beyond chance{silent}"
        if found
        else f"In none of {where} does an activation signal predict a candidate's quality beyond chance{silent}"
    )
    return (
        f"{first}. The largest |ρ| is {two_decimals(abs(largest['best_rho']))}, where chance alone stays below "
        f"{two_decimals(largest['null_95'])} in 95 of 100 studies and a perfect signal would reach "
        f"{two_decimals(largest['ceiling'])}."
    )


def size(results: Results) -> str:
    """Number of candidates and items."""
    headline = results.headline_of(results.target)
    return f"{plural(headline['candidates'], 'candidate')} and {plural(headline['items'], 'item')}"


def _tested(results: Results) -> str:
    signals, headline = results.signals, results.headline_of(results.target)
    axes = {"mask": "mask", "site": "site", "layer": "layer", "pooling": "pooling", "metric": "metric"}
    product = " × ".join(plural(signals[column].n_unique(), noun) for column, noun in axes.items())
    targets = enumeration([target_name(target) for target in results.targets])
    text = f"{plural(headline['signals'], 'activation signal')} ({product}) against {targets}; {size(results)}."
    text += "".join(
        f" {target_name(row['target']).capitalize()} is the mean of the task's {row['metric']}."
        for row in results.reliability.iter_rows(named=True)
        if row["metric"]
    )
    if headline["undefined"]:
        text += (
            f" {count(headline['undefined'])} of them have no defined correlation with {target_name(results.target)} "
            f"and are left out, not counted as zero; the commonest reason: {_commonest_reason(signals)}."
        )
    return text


def _commonest_reason(signals: pl.DataFrame) -> str:
    reasons = signals["reason"].drop_nulls()
    return "none given" if reasons.is_empty() else reasons.value_counts(sort=True)["reason"][0]


def _ceiling(results: Results) -> str:
    lead = results.reliability_of(results.target)
    sentences = []
    if lead["alpha"] is not None:
        sentences.append(
            f"{target_name(results.target).capitalize()} is the most reliable target "
            f"(α = {two_decimals(lead['alpha'])}), so the figures show it: a perfect signal would reach "
            f"|ρ| = {two_decimals(lead['ceiling'])}."
        )
    others = results.reliability.filter(pl.col("target") != results.target, pl.col("alpha").is_not_null())
    if not others.is_empty():
        ceilings = [f"{target_name(row['target'])} {two_decimals(row['ceiling'])}" for row in others.rows(named=True)]
        sentences.append(f"The ceilings of the others: {enumeration(ceilings)}.")
    undefined = results.reliability.filter(pl.col("alpha").is_null())
    for (reason,), rows in undefined.group_by("reason", maintain_order=True):
        names = enumeration([target_name(target) for target in rows["target"]])
        sentences.append(f"For {names} alpha is undefined: {reason}.")
    return " ".join(sentences)


def _largest(results: Results) -> str:
    headline, top = results.headline_of(results.target), results.strongest
    if top is None:
        return no_signal_defined(results).capitalize()
    within = correlation_interval(top["low"], top["high"])
    text = (
        f"The strongest signal is {signal_name(top)}: ρ = {two_decimals(top['rho'])} with "
        f"{target_name(results.target)} (95 % interval {within}; {p_phrase(top['p_maxt'], 'corrected p')}). "
        f"{against_null(results)}"
    )
    if headline["ceiling"] is not None and abs(top["rho"]) > headline["ceiling"]:
        text += f" It exceeds the noise ceiling of {two_decimals(headline['ceiling'])}: part of it must be chance."
    text += " " + _held_out(headline)
    others = [target_name(t) for t in results.targets if t != results.target and results.headline_of(t)["significant"]]
    if others:
        text += f" Signals with a corrected p below {LEVEL} also exist for {enumeration(others)}."
    return text


def _held_out(headline: Mapping[str, Any]) -> str:
    if headline["nested_rho"] is None:
        return "What the best signal keeps where it was not chosen is undefined."
    return (
        f"Chosen on half of the candidates and items and judged on the others, the best signal keeps "
        f"{two_decimals(headline['nested_rho'])} in its direction; {two_decimals(headline['optimism'])} was the "
        "luck of being chosen."
    )


def against_null(results: Results) -> str:
    """How the largest |rho| stands against the null line."""
    headline = results.headline_of(results.target)
    null, best = headline["null_95"], headline["best_rho"]
    if best is None:
        return "No signal has a defined correlation."
    if null is None:
        return "The null line is undefined."
    if abs(best) <= null:
        largest = f"the largest |ρ| is {two_decimals(abs(best))} against {two_decimals(null)}"
        return f"No signal crosses the null line: {largest}."
    crossing = results.signals.filter(pl.col("rho").abs() > null).height
    verb = "crosses" if crossing == 1 else "cross"
    return (
        f"{plural(crossing, 'signal')} {verb} the null line of {two_decimals(null)}, and the largest |ρ| is "
        f"{two_decimals(abs(best))}."
    )


def _absence(results: Results, smallest_useful_effect: float) -> str:
    """Whether the absence of evidence is evidence of absence."""
    verdicts = results.signals["equivalence"].drop_nulls()
    useless = int((verdicts == "no useful effect").sum())
    bound = f"|ρ| ≥ {smallest_useful_effect:g}"
    if useless == len(verdicts) > 0:
        return f"A useful effect ({bound}) is ruled out for every one of them."
    return (
        f"That is no proof of absence: {size(results)} rule out a useful effect ({bound}) for "
        f"{f'only {count(useless)}' if useless else 'none'} of them."
    )


def _equivalence(results: Results, smallest_useful_effect: float) -> str:
    verdicts = results.signals["equivalence"].drop_nulls()
    if verdicts.is_empty():
        return "No signal has a defined correlation, so that nothing is shown and nothing is ruled out."
    useless, useful = int((verdicts == "no useful effect").sum()), int((verdicts == "useful effect").sum())
    text = (
        f"An effect of |ρ| ≥ {smallest_useful_effect:g}, the smallest that was declared useful, is ruled out for "
        f"{count(useless)} of {plural(len(verdicts), 'defined signal')} and left open for "
        f"{count(len(verdicts) - useless - useful)}"
    )
    return f"{text}; without correction for their number, {count(useful)} show it." if useful else f"{text}."


def _features(results: Results) -> str:
    features = results.family("feature")
    top = strongest_of(features)
    if top is None:
        return "No feature that needs no activations has a defined correlation."
    length = features.filter(pl.col("metric") == "length", pl.col("rho").is_not_null())
    text = (
        f"Of {plural(features['rho'].count(), 'feature')} that need no activations, {top['metric']} is the strongest: "
        f"ρ = {two_decimals(top['rho'])} (95 % interval {correlation_interval(top['low'], top['high'])}; "
        f"{p_phrase(top['p_maxt'], 'corrected p')})."
    )
    if not length.is_empty() and top["metric"] != "length":
        text += f" Plain length has ρ = {two_decimals(length['rho'][0])}."
    return text


def _control(results: Results) -> str:
    controls = [row for row in results.family("control").iter_rows(named=True) if row["rho"] is not None]
    if not controls:
        return "No control has a defined correlation."
    parts = [f"{row['metric']} has ρ = {two_decimals(row['rho'])} ({p_phrase(row['p'])})" for row in controls]
    alarm = any(row["p"] is not None and row["p"] < LEVEL for row in controls)
    warning = " Chance gives so small a p in one study of twenty; read the other p values with care." if alarm else ""
    return f"The control that must predict nothing: {enumeration(parts)}.{warning}"
