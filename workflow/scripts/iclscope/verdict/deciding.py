"""How much more data would decide what is undecided about a selector, if its gain and its spread stay as they are.

The variance of a gain has a part from the candidates, which falls with their number while pools stay as large, and one
from the items, which falls with theirs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

from iclscope.statistics.intervals import Z_90
from iclscope.statistics.signals.power import ENOUGH, allowed_variance

Z_BOTH = float(norm.ppf((1 + ENOUGH) / 2))  # a gain must keep inside of both ends of a margin


@dataclass(frozen=True)
class Needed:
    """Items that would decide with the candidates as they are, candidates that would with the items as they are.

    None where no number of them alone would. `both` is the factor by which both would have to grow together.
    """

    items: int | None
    candidates: int | None
    both: float


def needed(row: Mapping[str, Any], margin: float, compared: int, candidates: int, items: int) -> Needed | None:
    """What would decide about a selector in four of five studies, from its row of the selection table.

    None without a standard error. `margin` is in units of the score, `compared` the number of selectors that the p
    values are corrected for; decided is what beats random, is worse or is equivalent to it within the margin.
    """
    if row["standard_error"] is None:
        return None
    from_candidates = row["error_candidates"] ** 2
    from_items = row["standard_error"] ** 2 - from_candidates
    allowed = allowed_variance(abs(row["gain"]), compared)
    if abs(row["gain"]) < margin:
        allowed = max(allowed, ((margin - abs(row["gain"])) / (Z_90 + Z_BOTH)) ** 2)
    if allowed == 0:
        return None  # a gain that lies on the margin
    return Needed(
        items=_times(items, from_items, allowed - from_candidates),
        candidates=_times(candidates, from_candidates, allowed - from_items),
        both=max(1.0, (from_candidates + from_items) / allowed),
    )


def _times(size: int, variance: float, allowed: float) -> int | None:
    """How large a sample of `size` must be to bring `variance`, which falls with it, down to `allowed`."""
    return max(size, math.ceil(size * variance / allowed)) if allowed > 0 else None
