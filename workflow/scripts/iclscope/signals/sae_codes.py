"""Active features of the tokens of many texts, pooled over the tokens of each: what metrics and selectors read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from iclscope.runtime.parquet import read_provenance
from iclscope.signals.poolings import POOLINGS
from iclscope.statistics.points import points_of
from iclscope.statistics.ranks import Float
from iclscope.tables import SAE_DICTIONARY, SAE_FEATURES, SPANS
from iclscope.tasks.samples import CANDIDATE, ITEM

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Codes:
    """Active features of tokens, and whose they are.

    values: sparse [tokens, width]. text: id of each token's text, position: place in it, error and energy: as in the
    table of features, [tokens] each. spans: columns SPANS of every text [texts]; zeros for one without any token.
    """

    values: csr_array
    text: Ints
    position: Ints
    error: Float
    energy: Float
    spans: Mapping[str, Ints]

    @classmethod
    def of(cls, frame: pl.DataFrame, texts: int, width: int) -> "Codes":
        """From rows of the table of features of one role, whose texts are numbered from 0 to `texts` - 1."""
        features, values = (frame[name].explode().drop_nulls().to_numpy() for name in ("features", "values"))
        places = np.concatenate([[0], np.cumsum(frame["features"].list.len().to_numpy())]).astype(np.int64)
        text, position = (frame[name].to_numpy().astype(np.int64) for name in ("id", "position"))
        spans = {name: np.zeros(texts, np.int64) for name in SPANS}
        for name in SPANS:
            spans[name][text] = frame[name].to_numpy()
        sparse = csr_array((values.astype(np.float64), features, places), shape=(frame.height, width))
        error, energy = (frame[name].to_numpy().astype(np.float64) for name in ("error", "energy"))
        return cls(sparse, text, position, error, energy, spans)

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self.spans[SPANS[0]])

    def first(self, texts: int) -> "Codes":
        """Those of the first `texts` texts."""
        ours = self.text < texts
        return Codes(
            self.values[np.flatnonzero(ours)],
            self.text[ours],
            self.position[ours],
            self.error[ours],
            self.energy[ours],
            {name: of[:texts] for name, of in self.spans.items()},
        )

    def pooled(self, pooling: str) -> "Pooled":
        """The tokens of every text that a pooling takes."""
        start, end = POOLINGS[pooling](self.spans)
        return Pooled(self, (self.position >= start[self.text]) & (self.position < end[self.text]))


@dataclass(frozen=True)
class Pooled:
    """The tokens of each text that are `inside` [all tokens] a pooling."""

    codes: Codes
    inside: NDArray[np.bool_]

    @cached_property
    def tokens(self) -> Float:
        """How many tokens enter [texts]."""
        return self.total(np.ones(len(self.codes.text)))

    def total(self, values: Float) -> Float:
        """Sum over tokens of a number per token: [all tokens] to [texts]."""
        return np.bincount(self.codes.text[self.inside], values[self.inside], len(self.codes)).astype(np.float64)

    @cached_property
    def largest(self) -> csr_array:
        """Largest value of every feature over the tokens, the max-pooled code: sparse [texts, width]."""
        picked, width = self.codes.values[np.flatnonzero(self.inside)], self.codes.values.shape[1]
        text = np.repeat(self.codes.text[self.inside], np.diff(picked.indptr))
        places, which = np.unique(text * width + picked.indices, return_inverse=True)
        found = np.zeros(len(places))
        np.maximum.at(found, which, picked.data)
        return csr_array((found, (places // width, places % width)), shape=(len(self.codes), width))


@dataclass(frozen=True)
class Reading:
    """What an SAE, or its twin, makes of a study: codes of candidates and items, and the `density` [width] of features
    on the texts of its training, where one that was never active has the smallest of all others.

    site, layer: where it reads. architecture: as in SAELens.
    """

    candidates: Codes
    items: Codes
    density: Float
    site: str
    layer: int
    architecture: str

    @classmethod
    def of(cls, path: str | Path, dictionary: str | Path, name: str) -> "Reading":
        """From the table of active features of the SAE or twin `name`, and the table of its features."""
        record = read_provenance(path)
        known = SAE_DICTIONARY.read(dictionary, columns=["sae", "feature", "density"])
        density = known.filter(sae=name).sort("feature")["density"].to_numpy()
        density = np.maximum(density, density[density > 0].min(initial=1))
        frame = SAE_FEATURES.read(path).sort("id", "position")
        candidates, items = (
            Codes.of(frame.filter(role=role), record["texts"][role], len(density)) for role in (CANDIDATE, ITEM)
        )
        site, layer = record["place"]
        return cls(candidates, items, density, site, layer, record["architecture"])

    def of_first_items(self, items: int) -> "Reading":
        """The same with the first `items` items."""
        return replace(self, items=self.items.first(items))

    @property
    def weight(self) -> Float:
        """-log density [width]: how telling a feature is."""
        return -np.log(self.density)

    @cached_property
    def points(self) -> Float:
        """Candidates as points [C, axes] whose products are those of log(1 + max-pooled code), features centred."""
        codes = self.candidates.pooled("all").largest.log1p()
        gram = (codes @ codes.T).toarray()
        return points_of(gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean())
