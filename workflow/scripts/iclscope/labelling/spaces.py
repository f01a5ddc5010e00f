"""Vectors of the questions by which examples are labelled, retrieved and classified, before any has a label."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.runtime.errors import StudyError
from iclscope.signals.questions import Questions, cosines
from iclscope.statistics.ranks import Float, unit
from iclscope.tables import EMBEDDINGS

logger = logging.getLogger(__name__)


class Space(NamedTuple):
    """One kind of vectors: of candidates [C, d] and items [N, d], and how alike they are [C, N]."""

    name: str
    candidates: Float
    items: Float
    likeness: Float

    @property
    def directions(self) -> Float:
        """Candidates scaled to length 1, what they have in common taken off."""
        return unit(self.candidates - self.candidates.mean(axis=0))


def read_spaces(embeddings: str | Path, representations: str | Path | None, shape: tuple[int, int]) -> list[Space]:
    """The mean final hidden state, that of the last token, and the sentence encoder's, as far as there are any.

    shape: candidates and items that were evaluated, the first of the samples.
    """
    frame = EMBEDDINGS.read(embeddings)
    parts = [
        frame.filter(role=role).sort("id").head(size) for role, size in zip(("candidate", "item"), shape, strict=True)
    ]
    if [part.height for part in parts] != list(shape):
        raise StudyError(f"{embeddings} has other candidates or items than the evaluation: delete it, rerun")
    found = {"mean": [_matrix(part["vector"]) for part in parts]}
    if representations:
        questions = Questions.read(representations, shape)
        found["last"] = [
            np.asarray(side[questions.last], np.float64) for side in (questions.candidates, questions.items)
        ]
    if not parts[0]["encoding"].null_count():
        found["encoder"] = [_matrix(part["encoding"]) for part in parts]
    spaces = []
    for name, (ours, theirs) in found.items():
        likeness = cosines(ours, theirs)
        if likeness is None:
            logger.info("%s is left out: all candidates are equal in it", name)
        else:
            spaces.append(Space(name, ours, theirs, likeness))
    return spaces


def _matrix(vectors: pl.Series) -> Float:
    """Vectors as rows [n, d]."""
    rows: NDArray[np.float64] = vectors.explode().to_numpy().reshape(len(vectors), -1).astype(np.float64)
    return rows
