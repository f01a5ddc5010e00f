"""Items taken evenly over gold labels and weighted so that they stand for all: a post-stratified sample."""

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import Float


def stratified(labels: NDArray[np.int64], everywhere: NDArray[np.int64], items: int, rng: np.random.Generator) -> Float:
    """Weights [n] of a random sample of `items` items with these gold labels [n]; zero for an item not taken.

    As many of each label as can be, and which label has one more is chance. Items of a label together weigh as much as
    the label's share `everywhere` [N], in the study: shares of one half would be off to the side on which the other
    half is not. Where some labels have none, the others take their weight in proportion. A mean with these weights is
    the post-stratified mean (Cochran 1977, section 5A.9).
    """
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)  # first, second … item of its label
    for label in np.unique(labels):
        mine = labels[order] == label
        turn[mine] = np.arange(mine.sum())
    taken = order[np.argsort(turn, kind="stable")[:items]]
    known, place, times = np.unique(labels[taken], return_inverse=True, return_counts=True)
    shares = (everywhere[:, None] == known).mean(axis=0)
    weights = np.zeros(len(labels))
    weights[taken] = (shares / shares.sum() / times)[place]
    return weights
