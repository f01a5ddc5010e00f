"""Random halves of the items, and a generator for each purpose."""

import zlib

import numpy as np
from numpy.typing import NDArray

from iclscope.runtime.errors import StudyError


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A random generator of its own for each purpose, so that no step shifts the numbers of another."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def random_half(clusters: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random half of the clusters as a mask over items [N]: items of one cluster fall on the same side."""
    total = int(clusters.max()) + 1
    if total < 4:
        raise StudyError(f"only {total} independent items: halves need at least 4; raise datasets.*.items")
    return (rng.permutation(total) < total // 2)[clusters]
