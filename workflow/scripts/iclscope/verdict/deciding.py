"""How much more data would decide what is undecided about a selector, if its gain and its spread stay as they are.

The variance of a gain has a part from the candidates and one from the items. k times as many items divide the second,
and the noise in the first, by k. More candidates are taken as m pools of the present size that are each chosen from:
one pick from a larger pool is still one pick. They divide the first part by m.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

from iclscope.statistics.intervals import LEVEL, Z_90


@dataclass(frozen=True)
class Needed:
    """Items that would decide with the candidates as they are, candidates that would with the items as they are.

    None where no number of them alone would. Candidates make whole pools. `both` is the factor by which both would
    have to grow together.
    """

    items: int | None
    candidates: int | None
    both: float


def needed(
    row: Mapping[str, Any], margin: float, alpha: float, compared: int, candidates: int, items: int
) -> Needed | None:
    """What would decide about a selector, from its row of the selection table; None without a standard error.

    `margin` is in units of the score, `alpha` the reliability of quality, `compared` the number of selectors that the
    p values are corrected for; decided is what beats random, is worse or is equivalent to it within the margin.
    """
    if row["standard_error"] is None:
        return None
    from_candidates = row["error_candidates"] ** 2
    from_items = row["standard_error"] ** 2 - from_candidates
    real, noise = alpha * from_candidates, (1 - alpha) * from_candidates
    allowed = (row["gain"] / norm.isf(LEVEL / 2 / compared)) ** 2  # the smallest p times their number is below LEVEL
    if abs(row["gain"]) < margin:
        allowed = max(allowed, ((margin - abs(row["gain"])) / Z_90) ** 2)
    both = (real + from_items + math.sqrt((real + from_items) ** 2 + 4 * allowed * noise)) / (2 * allowed)
    return Needed(
        items=_times(items, noise + from_items, allowed - real),
        candidates=_times(1, from_candidates, allowed - from_items, unit=candidates),
        both=both,
    )


def _times(size: int, variance: float, allowed: float, unit: int = 1) -> int | None:
    """How large a sample of `size` units must be to bring `variance`, which falls with it, down to `allowed`."""
    return unit * math.ceil(size * variance / allowed) if allowed > 0 else None
