"""What sparse autoencoders add: beyond their untrained twins, and beyond the activation that they were read from."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import norm

from iclscope.statistics.intervals import LEVEL
from iclscope.tables import TWIN
from iclscope.verdict.results import Results, strongest_of
from iclscope.verdict.wording import TARGET_UNITS, p_phrase, quantity, two_decimals

OURS, RIVALS = "sae_ridge", {"sae_ridge_random": "its untrained twin", "probe": "the dense vector (probe)"}
BEATS = "beats a rival"
RULES = {
    BEATS: "the 95 % interval of the difference of two gains lies above 0, their errors taken for independent, which "
    "errs on the side of caution where both are judged on the same candidates",
}


def names(results: Results) -> list[str]:
    """Names of the SAEs that a model and data set have signals of."""
    return results.correlation.filter(family="sae")["sae"].unique(maintain_order=True).to_list()


def sentences(results: Results) -> list[str]:
    """A sentence for each SAE's metrics, and one for what regression on features is worth; none without an SAE."""
    found = [_on_metrics(results, name) for name in names(results)]
    return [*found, conclusion(results)] if found else []


def strongest(results: Results, name: str) -> dict[str, Any] | None:
    """The metric of an SAE or its twin with the largest |rho| in the primary target; None if no rho is defined."""
    family = results.family("sae" + TWIN if name.endswith(TWIN) else "sae")
    return strongest_of(family.filter(sae=name))


def _on_metrics(results: Results, name: str) -> str:
    ours, twin = strongest(results, name), strongest(results, name + TWIN)
    if ours is None:
        return f"No metric of the SAE {name} has a defined correlation with quality."
    text = (
        f"Of the metrics of the SAE {name}, {ours['metric']} (pooling {ours['pooling']}) goes along with quality most: "
        f"ρ = {two_decimals(ours['rho'])} ({p_phrase(ours['p_study'], 'corrected p')})"
    )
    if twin is None:
        return f"{text}."
    return (
        f"{text}; of those of its untrained twin, {twin['metric']} (pooling {twin['pooling']}) with "
        f"ρ = {two_decimals(twin['rho'])} ({p_phrase(twin['p_study'], 'corrected p')})."
    )


def conclusion(results: Results) -> str:
    """Whether regression on the features of an SAE gains more than on its untrained twin, and on the dense vector."""
    rows = results.selection.filter(pl.col("target") == results.target, pl.col("standard_error").is_not_null())
    found = {row["selector"]: row for row in rows.iter_rows(named=True)}
    missing = [name for name in (OURS, *RIVALS) if name not in found]
    if missing:
        return (
            f"Whether an SAE beats its untrained twin and the dense vector was not tried: {', '.join(missing)} "
            f"{'has' if len(missing) == 1 else 'have'} no gain here."
        )
    parts = list(_against(found))
    gain = quantity(found[OURS]["gain"], signed=True)
    unit = TARGET_UNITS.get(results.target, "score")
    return f"Ridge regression on the features of the SAE gains {gain} {unit}: {', and '.join(parts)}."


def _against(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    reach = float(norm.ppf(1 - LEVEL / 2))
    for name, called in RIVALS.items():
        more = found[OURS]["gain"] - found[name]["gain"]
        error = reach * np.hypot(found[OURS]["standard_error"], found[name]["standard_error"])
        known = "it beats" if more > error else "it loses to" if more < -error else "it is not shown to beat"
        yield f"{known} {called}, which gains {quantity(found[name]['gain'], signed=True)}"
