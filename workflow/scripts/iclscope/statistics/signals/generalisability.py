"""How reliable a candidate's mean score is where items come in clusters, and how sure that is.

Items are drawn as whole clusters, so that noise is what a candidate's mean would differ by with other clusters: the
candidate x cluster interaction and, nested in it, candidate x item (Brennan 2001, Generalizability Theory). With
clusters of one item the coefficient is Cronbach's alpha.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import Float
from iclscope.statistics.signals.influence import summed

TINY = 1e-12  # what float rounding leaves of a variance that is zero


@dataclass(frozen=True)
class Noise:
    """Noise in quality: its `variance` for every candidate [C], and its `share` of the variance of quality.

    `log_error` is the standard error of log(share) over samples of candidates and clusters of items, with
    `freedom` degrees of freedom. The share is 1 - alpha: above 1 where candidates differ less than noise lets them.
    """

    variance: Float
    share: float
    log_error: float
    freedom: float

    @property
    def alpha(self) -> float:
        """Generalisability coefficient of quality; may be negative."""
        return 1 - self.share

    def alpha_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Interval of alpha: log(1 - alpha) is about normal (Bonett 2002, Psychometrika 67)."""
        from scipy.stats import t as student  # takes most of a second to import

        reach = float(student.ppf((1 + level) / 2, self.freedom)) * self.log_error
        return 1 - self.share * float(np.exp(reach)), 1 - self.share * float(np.exp(-reach))


def interaction(scores: Float) -> Float:
    """Candidate x item interaction of `scores` [..., C, N]: what level of candidate and of item leave."""
    rows, columns = scores.mean(axis=-1, keepdims=True), scores.mean(axis=-2, keepdims=True)
    return scores - rows - columns + rows.mean(axis=-2, keepdims=True)


def noise_of(
    scores: Float, clusters: NDArray[np.int64], candidate_clusters: NDArray[np.int64] | None = None
) -> Noise | None:
    """Noise in the mean over items of `scores` [C, N]; None where all candidates are equally good.

    `clusters` [N] and `candidate_clusters` [C] number clusters of items and of candidates from 0; there are at least
    two clusters of items.
    """
    candidates, items = scores.shape
    deviation = scores.mean(axis=1) - scores.mean()
    spread = float(deviation @ deviation) / (candidates - 1)
    if spread <= TINY * max(1.0, float((scores**2).mean())):
        return None
    parts = summed(interaction(scores), clusters) / items  # [C, clusters]; sums over clusters are 0
    groups = parts.shape[1]
    variance = groups / (groups - 1) * (parts**2).sum(axis=1) * candidates / (candidates - 1)
    mean = float(variance.mean())
    if mean <= TINY * spread:  # every item ranks the candidates alike
        return Noise(variance, 0.0, 0.0, np.inf)
    # Influence on log(noise) - log(variance of quality) of a candidate's weight, and of a cluster's.
    by_candidate = summed(variance / mean - deviation**2 / spread * candidates / (candidates - 1), candidate_clusters)
    units = len(by_candidate)
    from_candidates = float((by_candidate**2).sum()) / candidates**2 * units / (units - 1)
    from_candidates = max(from_candidates, 2 / (candidates - 1))
    noise_part = (parts**2).sum(axis=0)
    by_cluster = noise_part / noise_part.sum() - 1 / groups - 2 * (deviation @ parts) / (deviation @ deviation)
    from_items = max(0.0, float((by_cluster**2).sum()) * groups / (groups - 1) - 4 * _chance(deviation, variance))
    total = from_candidates + from_items
    freedom = total**2 / (from_candidates**2 / (units - 1) + from_items**2 / (groups - 1))
    return Noise(variance, mean / spread, float(np.sqrt(total)), freedom)


def _chance(deviation: Float, variance: Float) -> float:
    """What pure noise adds to the spread of log(variance of quality) over items, and candidates count already."""
    return float((deviation**2 * variance).sum()) / float(deviation @ deviation) ** 2
