"""p values that hold for a whole family."""

import numpy as np

from iclscope.statistics.ranks import Float


def holm(p: Float) -> Float:
    """p values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected
