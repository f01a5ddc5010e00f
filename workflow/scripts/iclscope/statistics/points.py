"""Candidates as points for a ridge regression, which sees no more of them than their inner products."""

import numpy as np

from iclscope.statistics.ranks import Float

ROUNDING = 1e-5  # principal axes with less than this share of the largest variance are float rounding


def points_of(gram: Float) -> Float:
    """Points [C, axes] with inner products `gram` [C, C], scaled to a mean squared length of 1.

    Principal axes lose nothing that a ridge regression on what the products are of would see, and there are at most C.
    """
    variance, axes = np.linalg.eigh(gram)
    known = variance > max(ROUNDING * variance[-1], np.finfo(np.float64).tiny)
    points: Float = axes[:, known] * np.sqrt(variance[known] / variance.mean())
    return points


def standardised(vectors: Float) -> Float:
    """Vectors [C, width] with every neuron on one scale, so that none that is always large rules; squared length 1."""
    spread = vectors.std(axis=0)
    known = spread > ROUNDING * spread.max()
    points: Float = (vectors - vectors.mean(axis=0)) * known / np.where(known, spread, 1)
    return points / np.sqrt(max(1, known.sum()))
