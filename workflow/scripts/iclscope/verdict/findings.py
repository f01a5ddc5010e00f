"""What the numbers say, in words: the answer and the findings, as templates filled from the tables.

A sentence claims only what its test supports: `no effect` needs an equivalence test, `related` a p that is corrected
for the whole study. Claims are about the primary target alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from iclscope.statistics.intervals import LEVEL
from iclscope.statistics.signals.latent import EXPLAINED, OPEN, PREDICTS, SMALL, STATUSES, USELESS
from iclscope.verdict import selectors
from iclscope.verdict.results import Results, strongest_of
from iclscope.verdict.wording import (
    correlation_interval,
    count,
    enumeration,
    p_phrase,
    plural,
    quantity,
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
    """The study's answer for one model and data set in two or three sentences, by its status."""
    headline, target = results.headline_of(results.target), target_name(results.target)
    tested = headline["signals"] - headline["undefined"]
    if results.strongest is None:
        return f"This run cannot tell: {_why_nothing_is_defined(results)}"
    if headline["alpha"] is None:
        return (
            f"This run cannot tell: the differences between candidates in {target} are no larger than noise, so that "
            f"nothing could be seen to predict them. More than {plural(headline['items'], 'item')} are needed."
        )
    useful = f"|ρ| ≥ {smallest_useful_effect:g} with quality without noise"
    if results.status == PREDICTS:
        return (
            f"Yes: {_so_many(results, PREDICTS)} of {plural(tested, 'activation signal')} predict {target} beyond what "
            f"{beyond_what(results)} tell, most of all {_top(results, PREDICTS)}. {_worth(headline)}"
        )
    if results.status == EXPLAINED:
        return (
            f"Only what is known without them: {_so_many(results, EXPLAINED)} of {plural(tested, 'activation signal')} "
            f"are related to {target}, none of them beyond what {beyond_what(results)} tell. The strongest: "
            f"{_top(results, EXPLAINED)}. {_worth(headline)}"
        )
    if results.status == SMALL:
        return (
            f"Too little to be of use: {_so_many(results, SMALL)} of {plural(tested, 'activation signal')} are related "
            f"to {target}, and a useful effect ({useful}) is ruled out for every one."
        )
    if results.status == USELESS:
        return f"No: a useful effect on {target} ({useful}) is ruled out for every one of {count(tested)} signals."
    related = results.signals.filter(status=SMALL).height
    seen = (
        f"{plural(related, 'activation signal')} {'is' if related == 1 else 'are'} related to {target}, but too little "
        "to be of use"
        if related
        else f"no activation signal is shown to be related to {target}"
    )
    return (
        f"This run cannot tell: {seen}; the largest |ρ| of {count(tested)} is "
        f"{two_decimals(abs(results.strongest['rho']))} ({p_phrase(results.strongest['p_study'], 'corrected p')}). "
        f"{_absence(results, useful)}"
    )


def beyond_what(results: Results) -> str:
    """What a signal must predict quality beyond, in words: where answers are generated there is no label."""
    labelled = results.signals["partial_label"].count() > 0
    return f"{'label, ' if labelled else ''}length, NLL and zero-shot answer log probability"


def _why_nothing_is_defined(results: Results) -> str:
    if results.reliability_of(results.target)["sd"] == 0:
        return f"{target_name(results.target)} is the same with every candidate."
    return f"{no_signal_defined(results)} Other masks, metrics or poolings may vary."


def _so_many(results: Results, status: str) -> str:
    return count(results.signals.filter(status=status).height)


def _top(results: Results, status: str) -> str:
    """The strongest signal with a status, with its numbers."""
    top = results.signals.filter(status=status).row(0, named=True)
    return f"{signal_name(top)} (ρ = {two_decimals(top['rho'])}, {p_phrase(top['p_study'], 'corrected p')})"


def _worth(headline: Mapping[str, Any]) -> str:
    """What the largest |rho| is worth, its luck taken off."""
    within = correlation_interval(headline["best_value_low"], headline["best_value_high"])
    return (
        f"The luck of being the largest of so many taken off, ρ = {two_decimals(headline['best_rho'])} is worth "
        f"{two_decimals(headline['best_value'])} (95 % interval {within})."
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
        Finding("Beside cheap features", _added(results)),
        Finding("Cheaper signals", _features(results)),
        Finding("Control", _control(results)),
        Finding("Value for selection", selectors.finding(results, results.target)),
    ]


# What is said of a number of combinations of model and data set, by their status; `{}` is the target.
OF_COMBINATIONS = {
    PREDICTS: "an activation signal predicts quality beyond label, length, NLL and zero-shot scores",
    EXPLAINED: "activation signals tell no more than label, length, NLL and zero-shot scores do",
    SMALL: "activation signals are related to quality, but too little to be of use",
    USELESS: "a useful effect is ruled out for every activation signal",
    OPEN: "the data cannot tell",
}


def overall(studies: Sequence[Results]) -> str:
    """The answer over all models and data sets: how many have which status, and the largest |rho|."""
    found = {status: [r for r in studies if r.status == status] for status in STATUSES}
    where = plural(len(studies), "combination")
    parts = [f"in {len(mine)} {OF_COMBINATIONS[status]}" for status, mine in found.items() if mine]
    text = f"Of {where} of model and data set: {'; '.join(parts)}."
    told = [r.headline_of(r.target) for r in studies if r.strongest is not None]
    if not told:
        return text
    largest = max(told, key=lambda h: abs(h["best_rho"]))
    return (
        f"{text} The largest |ρ| is {two_decimals(abs(largest['best_rho']))}, worth "
        f"{two_decimals(abs(largest['best_value']))} once its luck of being the largest is taken off; a perfect signal "
        f"would reach {two_decimals(largest['ceiling'])} there."
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
        within = correlation_interval(lead["alpha_low"], lead["alpha_high"])
        sentences.append(
            f"Claims are about {target_name(results.target)}, as declared (α = {two_decimals(lead['alpha'])}, 95 % "
            f"interval {within}): a perfect signal would reach |ρ| = {two_decimals(lead['ceiling'])}."
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
    return (
        f"The strongest signal is {signal_name(top)}: ρ = {two_decimals(top['rho'])} with "
        f"{target_name(results.target)} (95 % interval {within}; {p_phrase(top['p_study'], 'corrected p')}, for all "
        f"signals of {plural(results.study_tables, 'table')}). {against_null(results)} {_worth(headline)}"
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


def _absence(results: Results, useful: str) -> str:
    """Whether the absence of evidence is evidence of absence; `useful`: the least effect of use, in words."""
    defined = results.signals.filter(pl.col("rho").is_not_null())
    small = int(defined["small"].sum())
    return (
        f"That is no proof of absence: {size(results)} rule out a useful effect ({useful}) for "
        f"{f'only {count(small)}' if small else 'none'} of them."
    )


def _equivalence(results: Results, smallest_useful_effect: float) -> str:
    defined = results.signals.filter(pl.col("rho").is_not_null())
    if defined.is_empty():
        return "No signal has a defined correlation, so that nothing is shown and nothing is ruled out."
    small = int(defined["small"].sum())
    return (
        f"An effect of |ρ| ≥ {smallest_useful_effect:g} with quality without noise, the smallest that was declared "
        f"useful, is ruled out for {count(small)} of {plural(defined.height, 'defined signal')}."
    )


def _added(results: Results) -> str:
    """What activations add to cheap features in a cross-validated prediction."""
    headline = results.headline_of(results.target)
    if headline["added"] is None:
        return "What activations add to cheap features is undefined."
    shown = "" if headline["added_low"] > 0 else "not "
    return (
        f"Of candidates that no fit has seen, {beyond_what(results)} predict {quantity(headline['cheap_share'])} of "
        f"the variance of quality; with all activation signals together it is {quantity(headline['all_share'])}, a "
        f"difference of {quantity(headline['added'], signed=True)}, {shown}shown to be above zero (97.5 % confidence)."
    )


def _features(results: Results) -> str:
    features = results.family("feature")
    top = strongest_of(features)
    if top is None:
        return "No feature that needs no activations has a defined correlation."
    length = features.filter(pl.col("metric") == "length", pl.col("rho").is_not_null())
    text = (
        f"Of {plural(features['rho'].count(), 'feature')} that need no activations, {top['metric']} is the strongest: "
        f"ρ = {two_decimals(top['rho'])} (95 % interval {correlation_interval(top['low'], top['high'])}; "
        f"{p_phrase(top['p_study'], 'corrected p')})."
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
