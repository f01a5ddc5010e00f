"""What selectors gain in a make-believe study."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.stats import norm

from iclscope.tables import BEST_POSSIBLE, GAINS, SELECTION

POOL, SIZES = 12, (4, 8, 12, 24, 48)


def trials(scores: Mapping[str, np.ndarray], rng: np.random.Generator) -> pl.DataFrame:
    """Selectors whose gain is a share of what the best candidate gains."""
    kinds = {
        "random": ("static", 0.0),
        "search_8": ("static", 0.5),
        "search_16": ("static", 0.7),
        "search_half": ("static", 0.9),
        "length": ("static", -0.1),
        "nearest": ("query", 0.2),
        "activation": ("static", 0.05),
    }
    rows = []
    for target, matrix in scores.items():
        sd = matrix.mean(axis=1).std()
        for selector, (kind, share) in kinds.items():
            judged = selector != "random"
            gain = share * 1.8 * sd + (0.1 * sd * rng.standard_normal() if judged else 0.0)
            p = float(2 * norm.sf(1.96 * abs(gain) / sd)) if judged else None
            rows.append(
                {
                    "target": target,
                    "selector": selector,
                    "kind": kind,
                    "pool": POOL,
                    "value": matrix.mean() + gain,
                    "gain": gain,
                    "low": gain - sd if judged else None,
                    "high": gain + sd if judged else None,
                    "standard_error": sd / 1.96 if judged else None,
                    "error_candidates": 0.8 * sd / 1.96 if judged else None,
                    "freedom": 4.0 if judged else None,
                    "p": p,
                    "p_holm": min(1.0, 5 * p) if judged else None,
                    "regret": 1.8 * sd - gain,
                    "search_items": 20 * share if share > 0 else None,
                    "search_low": 5 * share if share > 0 else None,
                    "search_high": None,
                    "cost": 48 * 30 * share,
                    "label_match": {"random": 0.5, "nearest": 0.6}.get(selector),
                    "label_gain": {"random": 0.0, "nearest": 0.1 * sd}.get(selector),
                    "reason": None,
                }
            )
    return pl.DataFrame(rows, schema=SELECTION.schema)


def gains(selection: pl.DataFrame) -> pl.DataFrame:
    """Gains that grow with the pool, up to a single pick without an interval."""
    rows = []
    for row in selection.filter(pl.col("selector") != "random").iter_rows(named=True):
        for size in SIZES:
            gain, picked = row["gain"] * np.log(size) / np.log(POOL), size == SIZES[-1]
            low, high = (None, None) if picked else (gain - row["standard_error"], gain + row["standard_error"])
            point = {"pool": size, "gain": gain, "low": low, "high": high, "p": row["p"]}
            rows.append({"target": row["target"], "selector": row["selector"], **point})
    for (target,), mine in selection.group_by("target", maintain_order=True):
        best = mine["regret"][0]  # of random choice
        for size in SIZES[:-1]:
            gain = best * np.log(size) / np.log(POOL)
            point = {"pool": size, "gain": gain, "low": 0.8 * gain, "high": 1.3 * gain, "p": None}
            rows.append({"target": target, "selector": BEST_POSSIBLE, **point})
    return pl.DataFrame(rows, schema=GAINS.schema)
