"""Rankings of candidates that represent all of them, from embeddings alone: the first ones are chosen one by one.

They are FIRST where no number is given. A ranking is a preference [C]: 0 for the first candidate, -1 for the second,
and so on; those after the chosen ones are equals behind them. `vectors` [C, d] have length 1, so that the nearest by
distance is the nearest by cosine.

Libraries are imported where they are used: they take seconds, with a PyTorch that is there, and few studies need all.
"""

from collections.abc import Sequence

import numpy as np

from iclscope.statistics.ranks import Float

FIRST = 10
DISCOUNT = 10.0  # Vote-k: a vote counts this many times less for every neighbour of the voter that is chosen already
VOTERS = 0.05  # Vote-k: share of the candidates that each one votes for, as in the paper (150 of 3,000)


def k_centre(vectors: Float, first: int | None = None) -> Float:
    """Farthest-first traversal from the candidate nearest to the mean (Sener and Savarese 2018, greedy k-centre)."""
    from skactiveml.pool import CoreSet
    from sklearn.metrics import pairwise_distances_argmin

    middle = int(pairwise_distances_argmin(vectors.mean(axis=0, keepdims=True), vectors)[0])
    labels = np.full(len(vectors), np.nan)
    labels[middle] = 0
    rest = CoreSet(random_state=0).query(vectors, labels, batch_size=_size(vectors, first) - 1)
    return _ranking([middle, *rest], len(vectors))


def k_means(vectors: Float, seed: int, first: int | None = None) -> Float:
    """The candidate nearest to each centre of k-means, those of large clusters first."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import pairwise_distances_argmin

    clusters = KMeans(_size(vectors, first), n_init=10, random_state=seed).fit(vectors)
    large = np.argsort(-np.bincount(clusters.labels_), kind="stable")
    return _ranking(pairwise_distances_argmin(clusters.cluster_centers_[large], vectors), len(vectors))


def typiclust(vectors: Float, seed: int, first: int | None = None) -> Float:
    """The most typical candidate of each cluster of k-means, those of large clusters first (Hacohen et al. 2022)."""
    from skactiveml.pool import TypiClust

    unlabelled = np.full(len(vectors), np.nan)
    strategy = TypiClust(random_state=seed, cluster_algo_dict={"n_init": 10})
    return _ranking(strategy.query(vectors, unlabelled, batch_size=_size(vectors, first)), len(vectors))


def vote_k(vectors: Float, first: int | None = None) -> Float:
    """The candidate most voted for by those it is a near neighbour of, again and again (Su et al. 2023, fast Vote-k).

    The vote of a candidate counts less the more of its own neighbours are chosen already.
    """
    from sklearn.neighbors import kneighbors_graph

    neighbours = max(1, round(VOTERS * len(vectors)))
    votes = kneighbors_graph(vectors, neighbours).toarray()  # [voter, candidate]
    chosen: list[int] = []
    for _ in range(_size(vectors, first)):
        score = DISCOUNT ** -votes[:, chosen].sum(axis=1) @ votes
        score[chosen] = -1
        chosen.append(int(np.argmax(score)))
    return _ranking(chosen, len(vectors))


def _size(vectors: Float, first: int | None) -> int:
    return min(first or FIRST, len(vectors) - 1)


def _ranking(chosen: Sequence[int], candidates: int) -> Float:
    preference = np.full(candidates, -float(max(FIRST, len(chosen))))
    preference[chosen] = -np.arange(len(chosen), dtype=np.float64)
    return preference
