"""Random halves of the items, and bootstrap draws over candidates and items."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.runtime.errors import StudyError
from iclscope.statistics.ranks import Float


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A random generator of its own for each purpose, so that no step shifts the numbers of another."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def random_half(clusters: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random half of the clusters as a mask over items [N]: items of one cluster fall on the same side."""
    total = int(clusters.max()) + 1
    if total < 4:
        raise StudyError(f"only {total} independent items: halves need at least 4; raise datasets.*.items")
    return (rng.permutation(total) < total // 2)[clusters]


@dataclass(frozen=True)
class Weights:
    """Pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1): how often each draw holds each row and column.

    `candidates` [draws, C] and `items` [draws, N] are drawn independently; items of one cluster share their weight.
    """

    candidates: Float
    items: Float

    @classmethod
    def draw(cls, candidates: int, clusters: NDArray[np.int64], draws: int, rng: np.random.Generator) -> "Weights":
        """Multinomial weights; `clusters` [N] numbers the clusters of items from 0."""
        groups = int(clusters.max()) + 1
        rows = rng.multinomial(candidates, np.full(candidates, 1 / candidates), size=draws)
        columns = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws)[:, clusters]
        return cls(candidates=rows.astype(np.float64), items=columns.astype(np.float64))

    def means(self, scores: Float) -> Float:
        """Weighted mean over items of `scores` [C, N], for every draw [draws, C]."""
        return (self.items @ scores.T) / self.items.sum(axis=1, keepdims=True)
