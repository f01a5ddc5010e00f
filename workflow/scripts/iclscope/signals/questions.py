"""How alike questions of candidates and of items are, at each layer of the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.runtime.errors import StudyError
from iclscope.statistics.ranks import Float, unit
from iclscope.tables import REPRESENTATIONS

MEAN, LAST = "mean_vector", "last_vector"
POOLINGS = (MEAN, LAST)


class Place(NamedTuple):
    """Where a vector of a question is read: a hidden state, and how its tokens become one vector."""

    layer: int
    pooling: str


def cosines(candidates: NDArray[np.floating], items: NDArray[np.floating]) -> Float | None:
    """Cosine of candidates [C, d] and items [N, d] after the candidates' mean is taken off both: [C, N].

    What all vectors share says nothing of likeness, and it is most of a hidden state. None where all candidates are
    equal, as they are in the embedding layer at a last token that all have.
    """
    if (candidates == candidates[0]).all():
        return None
    ours, theirs = candidates.astype(np.float64), items.astype(np.float64)
    middle = ours.mean(axis=0)
    return unit(ours - middle) @ unit(theirs - middle).T


@dataclass(frozen=True)
class Questions:
    """Vectors of the questions of candidates [C, d] and items [N, d] at each place, rows in the order of their ids."""

    candidates: dict[Place, NDArray[np.float16]]
    items: dict[Place, NDArray[np.float16]]
    _known: dict[Place, Float | None] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str | Path, shape: tuple[int, int]) -> "Questions":
        """From the table representations, which may have more items than the `shape` [C, N] of the score matrix."""
        frame = REPRESENTATIONS.read(path)
        found: dict[str, dict[Place, NDArray[np.float16]]] = {}
        for role, size in zip(("candidates", "items"), shape, strict=True):
            found[role] = {}
            mine = frame.filter(pl.col("role") == role, pl.col("id") < size).sort("layer", "id")
            for (layer,), rows in mine.partition_by("layer", as_dict=True, maintain_order=True).items():
                if rows["id"].to_list() != list(range(size)):
                    raise StudyError(f"{path} has other {role} than the evaluation, which has {size}: delete it, rerun")
                for pooling in POOLINGS:
                    found[role][Place(layer, pooling)] = _matrix(rows[pooling])
        return cls(found["candidates"], found["items"])

    @property
    def last(self) -> Place:
        """The last token at the final hidden state."""
        return Place(max(place.layer for place in self.candidates), LAST)

    @property
    def places(self) -> Sequence[Place]:
        """All places at which candidates differ."""
        return [place for place in self.candidates if self.likeness(place) is not None]

    def likeness(self, place: Place) -> Float | None:
        """As `cosines` of one place."""
        if place not in self._known:
            self._known[place] = cosines(self.candidates[place], self.items[place])
        return self._known[place]


def _matrix(vectors: pl.Series) -> NDArray[np.float16]:
    """Vectors as rows [n, d]."""
    rows: NDArray[np.float16] = vectors.explode().to_numpy().reshape(len(vectors), -1)
    return rows
