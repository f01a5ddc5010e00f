"""What is known of the selectors, and which one to ship: statuses, beliefs and sentences, from the selection table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import t

from iclscope.statistics.gains.decisions import decide, posterior
from iclscope.statistics.intervals import LEVEL, TINY
from iclscope.tables import BEST_POSSIBLE, TASK_SCORE
from iclscope.verdict.deciding import needed
from iclscope.verdict.results import Results
from iclscope.verdict.wording import (
    TARGET_UNITS,
    count,
    enumeration,
    interval,
    percent,
    plural,
    quantity,
    target_name,
)

BEATS, WORSE, EQUIVALENT, UNDECIDED = "beats random", "worse than random", "equivalent to random", "undecided"
COMPARED = (BEATS, WORSE, EQUIVALENT, UNDECIDED)
RANDOM = "random"
RULES = {
    "pool": "selectors are judged in random pools of so many candidates",
    BEATS: "gain above 0 and corrected p (Holm over all selectors, times the tables of the study) below the level",
    WORSE: "gain below 0 and corrected p below the level",
    EQUIVALENT: "the 90 % interval of the gain lies within the margin of the target's unit",
    UNDECIDED: "none of these",
    "to_decide": "what would decide in four of five studies if gain and spread stay",
    "expected": "posterior mean of the gain, shrunk over selectors; `positive` is its chance to be above 0",
    "ship": "the cheapest whose expected gain minus price times cost comes within the margin of the best; "
    "random choice gains and costs nothing",
    "decided_on": "the primary target; accuracy, if the best by the primary target loses more than the margin in it "
    "(95 %): what beats random is then said to improve the one and to lower the other",
}

NEAREST = 5  # undecided selectors of which the sentences say what would decide; the data say it of all
DRAWS = 4000  # of the posterior
MILLION = 1e6  # tokens that the price is of


def judge(results: Results, settings: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The selectors of one model and data set in its primary target: entry of each, the one to ship, and sentences.

    `settings` holds `margin` and `price`, both by the unit of the target.
    """
    margin = of_unit(results.target, settings["margin"])
    entries = _entries(results, margin)
    ship, beliefs = _believe(results, results.target, settings, rng)
    for name, belief in beliefs.items():
        entries[name] |= belief
    sentences = _sentences(results, entries, margin)
    decided_on, lowered = results.target, lowers(results, results.target, settings["margin"])
    if lowered:
        decided_on = TASK_SCORE
        ship, beliefs = _believe(results, TASK_SCORE, settings, rng)
        for entry in entries.values():
            entry["status"] = conflict(results.target) if entry["status"] == BEATS else entry["status"]
        sentences.append(_on_conflict(results, lowered))
    if entries.keys() - {RANDOM}:
        cost = entries[ship]["cost"] if ship in entries else 0.0
        sentences.append(_on_shipping(ship, beliefs.get(ship, {}), cost, results.pool, decided_on, settings))
    return {
        "margin": margin,
        "pool": results.pool,
        "selectors": entries,
        "decided_on": decided_on,
        "ship": ship,
        "sentences": sentences,
    }


def lowers(results: Results, target: str, margins: Mapping[str, float]) -> dict[str, Any] | None:
    """The row of the table agreement which shows that what is best by `target` lowers accuracy; None if none does.

    Accuracy is what the task scores. Shown is a loss of more than the margin, at 95 %.
    """
    rows = results.agreement.filter(target=target, with_model=results.model, with_target=TASK_SCORE)
    found = rows.filter(pl.col("gain_high") < -of_unit(TASK_SCORE, margins)).rows(named=True)
    return found[0] if found else None


def conflict(target: str) -> str:
    """The status of what is of use for `target` alone."""
    return f"improves {target_name(target)}, lowers {target_name(TASK_SCORE)}"


def of_unit(target: str, limits: Mapping[str, float]) -> float:
    """The limit, margin or price, in the unit of a target."""
    return limits[TARGET_UNITS[target].replace(" ", "_")]


def selector_status(row: Mapping[str, Any], margin: float) -> str:
    """What is known of a selector, from its row of `Results.selectors`; `margin` in units of the score."""
    if row["selector"] == RANDOM:
        return "reference"
    if row["gain"] is None:
        return "undefined"
    if row["p_study"] is None:  # nothing varies: it is random choice, or all candidates are equally good
        return EQUIVALENT if abs(row["gain"]) < TINY else UNDECIDED
    if row["p_study"] < LEVEL:
        return BEATS if row["gain"] > 0 else WORSE
    reach = abs(row["gain"]) + t.ppf(1 - LEVEL, row["freedom"]) * row["standard_error"]
    return EQUIVALENT if reach < margin else UNDECIDED


def finding(results: Results, target: str) -> str:
    """Which gains are beyond chance in one target, the largest one, and the best that is possible."""
    rows = results.selectors(target).filter(pl.col("selector") != RANDOM)
    defined = rows.filter(pl.col("gain").is_not_null())
    if defined.is_empty():
        return "No selector was compared with random choice."
    best = defined.sort("gain", descending=True, maintain_order=True).row(0, named=True)
    better = defined.filter(pl.col("gain") > 0, pl.col("p_study") < LEVEL)["selector"].to_list()
    known = (
        f"Beyond chance, corrected for their number in the study, is the gain of {enumeration(better)}."
        if better
        else f"Corrected for their number in the study, none of {plural(rows.height, 'selector')} gains beyond chance."
    )
    return (
        f"In {target_name(target)} and pools of {count(results.pool)} candidates, the largest gain over a random "
        f"demonstration is that of {best['selector']}: {quantity(best['gain'], signed=True)} "
        f"({TARGET_UNITS.get(target, 'score')}; 95 % interval {interval(best['low'], best['high'], signed=True)}; the "
        f"luck of being the largest included). {known} {best_possible(results, target)}"
    )


def copying(results: Results, target: str) -> str:
    """How often the best retrieval picks a demonstration with the item's label, and what that alone gains."""
    rows = results.selectors(target).filter(pl.col("label_match").is_not_null())
    random, found = (
        rows.filter(selector=RANDOM),
        rows.filter(pl.col("selector") != RANDOM, pl.col("gain").is_not_null()),
    )
    if random.is_empty() or found.is_empty():
        return ""
    best = found.sort("gain", descending=True, maintain_order=True).row(0, named=True)
    return (
        f"Of those that pick for every item, {best['selector']} gains most, {quantity(best['gain'], signed=True)}: "
        f"{percent(best['label_match'])} of the items get a demonstration with their own label, of random ones "
        f"{percent(random['label_match'][0])}, and random candidates with the label as often gain "
        f"{quantity(best['label_gain'], signed=True)}. That much of it is copying the label."
    )


def best_possible(results: Results, target: str) -> str:
    """What the truly best candidate of a pool gains."""
    rows = results.gains.filter(target=target, selector=BEST_POSSIBLE, pool=results.pool).rows(named=True)
    if not rows:
        return "What the best candidate of a pool gains is unknown: candidates do not differ by more than noise."
    return (
        f"The best candidate of such a pool gains {quantity(rows[0]['gain'], signed=True)} in truth (95 % interval "
        f"{interval(rows[0]['low'], rows[0]['high'], signed=True)}): no choice for all items gains more."
    )


def _entries(results: Results, margin: float) -> dict[str, dict[str, Any]]:
    """Numbers and status of every selector, and what would decide about those that are undecided."""
    rows = results.selectors(results.target)
    trust, entries = results.reliability_of(results.target), {}
    compared = max(1, rows["p_holm"].count()) * results.study_tables
    names = ("gain", "low", "high", "p_study", "regret", "search_items", "search_low", "search_high", "cost")
    for row in rows.iter_rows(named=True):
        status = selector_status(row, margin)
        entries[row["selector"]] = {**{name: row[name] for name in names}, "status": status}
        if status == UNDECIDED:
            more = needed(row, margin, compared, trust["candidates"], trust["items"])
            entries[row["selector"]]["to_decide"] = more and vars(more)
    return entries


def _believe(
    results: Results, target: str, settings: Mapping[str, Any], rng: np.random.Generator
) -> tuple[str, dict[str, dict[str, float]]]:
    """The selector to ship for one target, and what is believed of each whose gain varies and of random choice."""
    rows = results.selectors(target)
    varies = rows["standard_error"].is_not_null().to_numpy()
    if not varies.any():
        return RANDOM, {}
    known = rows.filter(varies)
    # Errors are taken for independent: the covariance of thirty selectors, estimated from a few dozen candidates, has
    # axes along which it knows no doubt, and these would pull a gain of six standard errors down to nothing.
    variance = known["standard_error"].to_numpy() ** 2
    draws = posterior(known["gain"].to_numpy(), np.diag(variance), DRAWS, rng)
    margin, price = (of_unit(target, settings[name]) for name in ("margin", "price"))
    decision = decide(draws, known["cost"].to_numpy(), price / MILLION, margin)
    columns = {
        "expected": decision.mean,
        "expected_low": decision.low,
        "expected_high": decision.high,
        "net": decision.net,
        "positive": decision.positive,
        "best": decision.best,
        "expected_regret": decision.regret,
    }
    names = known["selector"].to_list()
    beliefs = {
        name: {column: float(values[row]) for column, values in columns.items()} for row, name in enumerate(names)
    }
    if RANDOM in rows["selector"]:
        beliefs[RANDOM] = {"best": decision.random_best, "expected_regret": decision.random_regret}
    return (RANDOM if decision.ship is None else names[decision.ship]), beliefs


def _sentences(results: Results, entries: Mapping[str, Mapping[str, Any]], margin: float) -> list[str]:
    """A sentence for each status that a selector has."""
    by_status = {s: [name for name, entry in entries.items() if entry["status"] == s] for s in COMPARED}
    if not any(by_status.values()):
        return ["No selector was compared with random choice."]
    unit = TARGET_UNITS.get(results.target, "score")
    sentences = []
    for status, known in ((BEATS, "Better"), (WORSE, "Worse")):
        if by_status[status]:
            gains = [
                f"{name} ({quantity(entries[name]['gain'], signed=True)} {unit}, 95 % interval "
                f"{interval(entries[name]['low'], entries[name]['high'], signed=True)})"
                for name in by_status[status]
            ]
            sentences.append(
                f"{known} than random choice, corrected for their number in the study: {enumeration(gains)}."
            )
    if not by_status[BEATS]:
        sentences.append("No selector is shown to beat random choice.")
    if by_status[EQUIVALENT]:
        sentences.append(f"As good as random within ±{quantity(margin)} {unit}: {enumeration(by_status[EQUIVALENT])}.")
    if by_status[UNDECIDED]:
        sentences.append(_on_undecided(by_status[UNDECIDED], entries, results.reliability_of(results.target)))
    return sentences


def _on_conflict(results: Results, lowered: Mapping[str, Any]) -> str:
    """That what is good by the primary target is bad for the task, and what follows."""
    return (
        f"What is good by {target_name(results.target)} is not by {target_name(TASK_SCORE)}: the best of "
        f"{count(lowered['pool'])} candidates by {target_name(results.target)} changes {target_name(TASK_SCORE)} by "
        f"{quantity(lowered['gain_elsewhere'], signed=True)} (95 % interval "
        f"{interval(lowered['gain_low'], lowered['gain_high'], signed=True)}). Whatever gains, "
        f"{conflict(results.target)}; what to ship is decided by {target_name(TASK_SCORE)}."
    )


def _on_shipping(
    ship: str, belief: Mapping[str, float], cost: float, pool: int, target: str, settings: Mapping[str, Any]
) -> str:
    """What to ship, and how sure that is."""
    unit = TARGET_UNITS.get(target, "score")
    margin, price = (of_unit(target, settings[name]) for name in ("margin", "price"))
    paid = f" after {quantity(price)} {unit} for each million tokens" if price else ""
    if ship == RANDOM:
        return (
            f"To ship: random choice, for no selector is expected to gain more than {quantity(margin)} {unit}{paid} in "
            f"pools of {count(pool)} candidates."
        )
    return (
        f"To ship: {ship}, which costs {count(round(cost))} tokens in a pool of {count(pool)} candidates, the fewest "
        f"of those whose expected gain{paid} comes within {quantity(margin)} {unit} of the best. Chance taken off, it "
        f"gains {quantity(belief['expected'], signed=True)} in {target_name(target)} (95 %: "
        f"{interval(belief['expected_low'], belief['expected_high'], signed=True)}); it beats random choice with a "
        f"probability of {percent(belief['positive'])}, and all others with {percent(belief['best'])}."
    )


def _on_undecided(names: Sequence[str], entries: Mapping[str, Mapping[str, Any]], trust: Mapping[str, Any]) -> str:
    """Which selectors are undecided, and what would decide about those for which the least is missing."""
    growth = {name: _least(entries[name]["to_decide"], trust) for name in names if entries[name]["to_decide"]}
    nearest = sorted(growth, key=lambda name: growth[name][0])[:NEAREST]
    text = f"Undecided: {enumeration(names)}."
    if not nearest:
        return text
    what = enumeration([f"{growth[name][1]} for {name}" for name in nearest])
    few = "Fewest for a decision" if len(names) > NEAREST else "For a decision"
    return f"{text} {few} in four of five studies, if gain and spread stay as they are: {what}."


def _least(to_decide: Mapping[str, Any], trust: Mapping[str, Any]) -> tuple[float, str]:
    """The smallest growth that would decide, as a factor and in words: of items, of candidates, else of both."""
    alone = {name: to_decide[name] for name in ("items", "candidates") if to_decide[name] is not None}
    if not alone:
        return to_decide["both"], f"{to_decide['both']:.1f} times as many of both"
    least = min(alone, key=lambda name: alone[name] / trust[name])
    return alone[least] / trust[least], f"{count(alone[least])} {least}"
