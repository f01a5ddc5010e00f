"""How a candidate's weight moves Spearman's rho, and the variance over samples of candidates that follows from it.

The variance is the sum of squared influences (the infinitesimal jackknife: Jaeckel 1972; Efron 1982): what a bootstrap
over candidates gives with infinitely many draws, without any. Candidates of one cluster move together: their influences
are summed before they are squared.
"""

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import BLOCK, Float, Ranks

NEARLY_ONE = 1 - 1e-9  # |rho| = 1 has no finite Fisher z


def summed(values: Float, clusters: NDArray[np.int64] | None) -> Float:
    """Columns of `values` [..., n] summed over the clusters [n], numbered from 0; as they are without clusters."""
    if clusters is None:
        return values
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order], prepend=-1))
    return np.add.reduceat(values[..., order], starts, axis=-1)


def candidate_variance(ranks: Ranks, quality: Ranks, clusters: NDArray[np.int64] | None = None) -> Float:
    """Variance of atanh(rho) of every signal [signals] over samples of candidates.

    `ranks` [signals, C] and `quality` [C] are centred ranks, none of them constant; `clusters` [C] numbers the
    candidates' clusters from 0.
    """
    variance = np.empty(len(ranks))
    for first in range(0, len(ranks), BLOCK):
        rows = slice(first, first + BLOCK)
        moved, rho = influences(ranks[rows], quality)
        parts = summed(moved, clusters)
        units = parts.shape[1]
        stretch = 1 - np.minimum(np.abs(rho), NEARLY_ONE) ** 2  # derivative of rho by atanh(rho)
        variance[rows] = (parts**2).sum(axis=1) * units / (units - 1) / stretch**2
    return variance


def residual_variance(rows: Ranks, target: Float, clusters: NDArray[np.int64] | None = None) -> Float:
    """The same for the correlation of residuals, `rows` [signals, C] with `target` [C], all of length 1.

    Residuals are taken as they are: that other candidates would have other ranks matters only where rho is far from 0.
    """
    variance = np.empty(len(rows))
    for first in range(0, len(rows), BLOCK):
        mine = rows[first : first + BLOCK].astype(np.float64)
        rho = np.clip(mine @ target, -NEARLY_ONE, NEARLY_ONE)[:, None]
        parts = summed(mine * target - rho / 2 * (mine**2 + target**2), clusters)
        units = parts.shape[1]
        variance[first : first + BLOCK] = (parts**2).sum(axis=1) * units / (units - 1) / (1 - rho[:, 0] ** 2) ** 2
    return variance


def influences(ranks: Ranks, quality: Ranks) -> tuple[Float, Float]:
    """Derivative of rho by the weight of every candidate [signals, C], and rho [signals].

    More weight on candidate c adds its own product of ranks; it also raises the rank of every candidate above it, in
    the signal and in quality, and with it their products. The sum of squared ranks, (C^3 - sum of cubed tie sizes) / 12
    times the square of the scale, grows by (C^2 - tie size^2) / 4.
    """
    a, b = ranks.astype(np.float64), quality.astype(np.float64)
    candidates = len(b)
    squares, target = (a**2).sum(axis=1, keepdims=True), b @ b
    scale = np.sqrt(squares * target)
    rho = (a @ b)[:, None] / scale
    above, ties = _above(a, np.broadcast_to(b, a.shape))
    order = np.argsort(b, kind="stable")
    lifted, tied = _above_sorted(b[order], a[:, order])
    moved = a * b + above
    moved[:, order] += lifted
    moved /= scale
    growth = (candidates**2 - ties**2) / squares
    growth[:, order] += (candidates**2 - tied**2) / target
    return moved - rho * growth / 8, rho[:, 0]


def _above(values: Float, other: Float) -> tuple[Float, Float]:
    """Sum of `other` over the candidates with larger `values`, ties counting half, and tie sizes; all [signals, C]."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    new = np.ones(values.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    position = np.arange(values.shape[1])
    start = np.maximum.accumulate(np.where(new, position, 0), axis=1)
    last = np.concatenate([new[:, 1:], np.ones((len(values), 1), dtype=bool)], axis=1)
    stop = np.minimum.accumulate(np.where(last, position + 1, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    sums, sizes = np.empty_like(values), np.empty_like(values)
    np.put_along_axis(sums, order, _sums(np.take_along_axis(other, order, axis=1), start, stop), axis=1)
    np.put_along_axis(sizes, order, (stop - start).astype(np.float64), axis=1)
    return sums, sizes


def _above_sorted(values: Float, other: Float) -> tuple[Float, Float]:
    """The same for one ascending row of `values` [C] and many rows of `other` [signals, C]; tie sizes [C]."""
    start, stop = np.searchsorted(values, values, "left"), np.searchsorted(values, values, "right")
    sums = _sums(other, np.broadcast_to(start, other.shape), np.broadcast_to(stop, other.shape))
    return sums, (stop - start).astype(np.float64)


def _sums(ordered: Float, start: NDArray[np.int64], stop: NDArray[np.int64]) -> Float:
    """Sum of what lies above each place, from centred values: minus what lies below, and half of its ties."""
    below = np.zeros((len(ordered), ordered.shape[1] + 1))
    np.cumsum(ordered, axis=1, out=below[:, 1:])
    return -(np.take_along_axis(below, start, axis=1) + np.take_along_axis(below, stop, axis=1)) / 2
