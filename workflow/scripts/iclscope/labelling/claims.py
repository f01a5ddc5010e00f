"""What a benchmark of query strategies claims (Rauch et al. 2025, arXiv 2506.01992), tested on one data set.

A claim holds or is contradicted where its p, corrected for all claims of the table, is below the level; else nothing
is shown. Intervals and p are over random splits of the data set: other data sets may differ.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from iclscope.labelling.curves import RANDOM, TYPICLUST
from iclscope.statistics.corrections import holm
from iclscope.statistics.intervals import LEVEL
from iclscope.statistics.learning_curves import Mean, mean_of, steadiness
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator

FEWEST = 4  # representations for a rank correlation
DRAWS = 1000
HOLDS, CONTRADICTED, OPEN, UNDEFINED = "holds", "contradicted", "not shown", "undefined"

Areas = Mapping[str, Mapping[tuple[str, str], Float]]  # representation → start and strategy → AULC [seeds]


@dataclass(frozen=True)
class Found:
    """What was measured for a claim, in words too; or why it is undefined."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    null: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """Areas under the curves, and accuracies of the probe [seeds] by representation, with the study's seed."""

    areas: Areas
    probes: Mapping[str, Float]
    seed: int

    @property
    def ranked(self) -> list[str]:
        """Representations, the one with the best probe first."""
        return sorted(self.probes, key=lambda name: -float(self.probes[name].mean()))

    @property
    def strategies(self) -> list[str]:
        """Those that choose."""
        return list(dict.fromkeys(name for _, name in next(iter(self.areas.values())) if name != RANDOM))

    def gain(self, name: str) -> Float:
        """Mean gain [seeds] of strategies over random labels on one representation, from random starts."""
        mine = self.areas[name]
        return np.mean([mine[RANDOM, one] for one in self.strategies], axis=0) - mine[RANDOM, RANDOM]

    def diverse(self, name: str) -> Float:
        """What a TypiClust start adds [seeds] on one representation, the mean over all strategies and random labels."""
        mine = self.areas[name]
        both = [mine[TYPICLUST, one] - mine[RANDOM, one] for one in (RANDOM, *self.strategies)]
        return np.mean(both, axis=0)

    def mean(self, values: Float) -> Mean:
        """Their mean with its p."""
        return mean_of(values, generator(self.seed, "flips of claims"))


def claims_of(areas: Areas, probes: Mapping[str, Float], seed: int) -> list[dict[str, Any]]:
    """Rows of the table of claims."""
    evidence = Evidence(areas, probes, seed)
    found = {name: test(evidence) for name, (_, test) in CLAIMS.items()}
    tested = [name for name, one in found.items() if one.p is not None]
    p = dict(zip(tested, holm(np.array([found[name].p for name in tested])).tolist(), strict=True)) if tested else {}
    rows = []
    for name, one in found.items():
        verdict = _verdict(one, p.get(name))
        sentence = f"{SAID[verdict]}: {one.text}"
        measured = {key: getattr(one, key) for key in ("value", "low", "high", "p")}
        about = {"claim": name, "question": CLAIMS[name][0], "p_holm": p.get(name)}
        rows.append({**about, **measured, "verdict": verdict, "sentence": sentence})
    return rows


SAID = {HOLDS: "It does", CONTRADICTED: "The opposite is seen", OPEN: "Not shown", UNDEFINED: "Cannot be said"}


def _verdict(found: Found, p: float | None) -> str:
    if found.value is None:
        return UNDEFINED
    if p is None or p > LEVEL:
        return OPEN
    return HOLDS if found.value > found.null else CONTRADICTED


def _embedding(evidence: Evidence) -> Found:
    best, *_, worst = evidence.ranked if len(evidence.probes) > 1 else (None, None)
    if best is None or worst is None:
        return Found("there is one representation, and two are compared.")
    if not evidence.strategies:
        return Found("no strategy but random is tried.")
    mean = evidence.mean(evidence.gain(best) - evidence.gain(worst))
    return _of(mean, f"strategies gain {{}} more over random labels on {best} than on {worst}{{}}.")


def _rank(evidence: Evidence) -> Found:
    names = evidence.ranked
    if len(names) < FEWEST:
        return Found(f"of {len(names)} representations no rank correlation is taken; {FEWEST} would do.")
    probes = np.stack([evidence.probes[name] for name in names], axis=1)  # [seeds, representations]
    areas = np.stack([np.mean(list(evidence.areas[name].values()), axis=0) for name in names], axis=1)
    rng, seeds = generator(evidence.seed, "ranks of representations"), len(probes)
    draws = [rng.integers(seeds, size=seeds) for _ in range(DRAWS)]
    rho = [float(spearmanr(probes[draw].mean(axis=0), areas[draw].mean(axis=0))[0]) for draw in draws]
    value = float(spearmanr(probes.mean(axis=0), areas.mean(axis=0))[0])
    low, high = (float(one) for one in np.quantile(rho, (0.025, 0.975)))
    p = min(1.0, 2 * (1 + min(sum(one <= 0 for one in rho), sum(one >= 0 for one in rho))) / (1 + DRAWS))
    text = f"ρ = {value:.2f} ({low:.2f} to {high:.2f}) over {len(names)} representations."
    return Found(_minus(text), value, low, high, p)


def _start(evidence: Evidence) -> Found:
    mean = evidence.mean(np.mean([evidence.diverse(name) for name in evidence.areas], axis=0))
    return _of(mean, "a start by TypiClust adds {} to the mean accuracy{}.")


def _start_embedding(evidence: Evidence) -> Found:
    if len(evidence.probes) < 2:
        return Found("there is one representation, and two are compared.")
    best, worst = evidence.ranked[0], evidence.ranked[-1]
    mean = evidence.mean(evidence.diverse(best) - evidence.diverse(worst))
    return _of(mean, f"a start by TypiClust adds {{}} more on {best} than on {worst}{{}}.")


def _steady(evidence: Evidence) -> Found:
    if not {"badge", "margin"} <= set(evidence.strategies):
        return Found("badge and margin are not both tried.")
    best = evidence.ranked[0]
    mine = evidence.areas[best]
    badge, margin = (mine[RANDOM, name] - mine[RANDOM, RANDOM] for name in ("badge", "margin"))
    found = steadiness(margin, badge)
    if found is None:
        return Found("too few splits, or gains that do not vary.")
    text = (
        f"the gain of Margin varies {found.ratio:.2f} times as much over splits as that of Badge "
        f"({found.low:.2f} to {found.high:.2f}) on {best}."
    )
    return Found(text, found.ratio, found.low, found.high, found.p, null=1.0)


# Claim → what is asked, and its test.
CLAIMS: dict[str, tuple[str, Callable[[Evidence], Found]]] = {
    "embedding": ("Do strategies gain more on a better embedding?", _embedding),
    "rank": ("Does a better embedding learn from fewer labels?", _rank),
    "start": ("Does a diverse start help?", _start),
    "start_embedding": ("Does a diverse start help more on a better embedding?", _start_embedding),
    "steady": ("Is Badge steadier than Margin?", _steady),
}


def _of(mean: Mean, text: str) -> Found:
    between = "" if mean.low is None or mean.high is None else f" ({mean.low:+.3f} to {mean.high:+.3f})"
    return Found(_minus(text.format(f"{mean.value:+.3f}", between)), mean.value, mean.low, mean.high, mean.p)


def _minus(text: str) -> str:
    return text.replace(" -", " \N{MINUS SIGN}").replace("(-", "(\N{MINUS SIGN}")
