"""Permutations of candidates, many at once as matrix products: the largest correlation of a family in each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import BLOCK, CLOSE, Float, Ranks


@dataclass(frozen=True)
class Shuffles:
    """`count` permutations of C `candidates`: the same whenever they are asked for, so that models can share them.

    With `clusters` [C], numbered from 0, whole clusters change places, in random order and each in a random order of
    its own. Clusters of one size then always meet each other; where sizes differ they overlap.
    """

    candidates: int
    count: int
    seed: int | Sequence[int]
    clusters: NDArray[np.int64] | None = None

    def blocks(self) -> Iterator[NDArray[np.int64]]:
        """Blocks [at most BLOCK, C]: whose quality each candidate gets."""
        rng = np.random.default_rng(self.seed)
        clusters = np.arange(self.candidates) if self.clusters is None else self.clusters
        order, groups = np.argsort(clusters, kind="stable"), int(clusters.max()) + 1
        for start in range(0, self.count, BLOCK):
            size = min(BLOCK, self.count - start)
            turn = rng.permuted(np.broadcast_to(np.arange(groups), (size, groups)), axis=1)
            if self.clusters is None:
                yield turn
                continue
            dealt = np.empty((size, self.candidates), dtype=np.int64)
            dealt[:, order] = np.argsort(turn[:, clusters] + rng.random((size, self.candidates)), axis=1)
            yield dealt

    @property
    def units(self) -> int:
        """Number of candidates that are independent of each other."""
        return self.candidates if self.clusters is None else int(self.clusters.max()) + 1

    def error(self, rows: Ranks, target: Float, basis: Float | None = None) -> Float:
        """Standard error of atanh(rho) of every signal [signals] over permutations.

        1 / sqrt(C - 3 - nuisances) where candidates are independent. Clusters make it larger, as much as both signal
        and quality differ between them: measured over one block of permutations.
        """
        free = 1 / np.sqrt(self.candidates - 3 - (0 if basis is None else basis.shape[1]))
        if self.clusters is None:
            return np.full(len(rows), free)
        dealt = deal(target, next(self.blocks()), basis)
        error = [np.sqrt(np.mean(np.arctanh(product) ** 2, axis=1)) for _, product in products(rows, dealt)]
        return np.maximum(np.concatenate(error), free)


@dataclass(frozen=True)
class Null:
    """What permuting quality does to a family: how often it `exceeded` a signal's own statistic [signals].

    `largest` [permutations] is the largest statistic of the family in each permutation.
    """

    exceeded: NDArray[np.int64]
    largest: Float

    def p(self) -> Float:
        """Two-sided p of every signal alone [signals]."""
        return (1 + self.exceeded) / (1 + len(self.largest))


def p_of_largest(statistic: Float, largest: Sequence[Float]) -> Float:
    """p corrected for the family of all tables [signals] by single-step maxT; `largest` has `Null.largest` of each."""
    of_family = np.sort(np.maximum.reduce(list(largest)))
    beaten = np.searchsorted(of_family, statistic - CLOSE, side="left")
    return (1 + len(of_family) - beaten) / (1 + len(of_family))


def permute(
    rows: Ranks, target: Float, shuffles: Shuffles, statistic: Float, error: Float, basis: Float | None = None
) -> Null:
    """Compare each signal's `statistic` [signals] with |atanh rho| / `error` of permuted quality.

    `rows` [signals, C] and `target` [C] have length 1; with a `basis` [C, k] both are residuals.
    """
    least = np.tanh(statistic * error)[:, None] - CLOSE  # rho that reaches the signal's own statistic
    common = error.min() if len(error) else 1.0
    exceeded, largest = np.zeros(len(rows), dtype=np.int64), []
    for order in shuffles.blocks():
        best = np.zeros(len(order))
        for part, rho in products(rows, deal(target, order, basis)):
            np.abs(rho, out=rho)
            exceeded[part] += np.count_nonzero(rho >= least[part], axis=1)
            if shuffles.clusters is not None:  # errors differ; rho is small, where atanh is nearly straight
                rho *= (common / error[part])[:, None].astype(np.float32)
            np.maximum(best, rho.max(axis=0), out=best)
        largest.append(np.arctanh(np.minimum(best, 1 - CLOSE)) / common)
    return Null(exceeded, np.concatenate(largest))


def deal(target: Float, order: NDArray[np.int64], basis: Float | None = None) -> Ranks:
    """Permuted `target` [C, permutations], with a basis the residuals of it, at length 1."""
    dealt = target[order]
    if basis is not None:
        dealt = dealt / np.sqrt(1 - ((dealt @ basis) ** 2).sum(axis=1, keepdims=True))
    return np.ascontiguousarray(dealt.T, dtype=np.float32)


def products(rows: Ranks, dealt: Ranks) -> Iterator[tuple[slice, Ranks]]:
    """Correlations of the signals with permuted quality [at most BLOCK, permutations], block by block of signals."""
    for first in range(0, len(rows), BLOCK):
        part = slice(first, first + BLOCK)
        yield part, rows[part] @ dealt
