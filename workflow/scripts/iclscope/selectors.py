"""Ways to choose a demonstration, each a small function under a name of the config's `selection.selectors`.

A selector returns how much it prefers each candidate, higher is better: [C] if one candidate serves all items, [C, N]
if every item has its own. It sees the scores of one half of the items only and is judged on the other half.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import bm25s
import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.errors import StudyError
from iclscope.nested import strongest
from iclscope.resampling import Float, Ranks, centred_ranks

SEARCH = re.compile(r"search_([1-9]\d*)")


@dataclass(frozen=True)
class Materials:
    """What selectors may look at besides scores; rows in the order of candidate and item ids.

    `features` is the feature table; vectors are [C, d] and [N, d], texts are questions; `activation` [signals, C] are
    centred ranks of the defined activation signals.
    """

    features: pl.DataFrame
    candidate_vectors: Float
    item_vectors: Float
    candidate_texts: list[str]
    item_texts: list[str]
    activation: Ranks


# (materials, scores of the choosing half [C, n], generator) → preference, None if the data set lacks what it needs
Prefer = Callable[[Materials, Float, np.random.Generator], Float | None]


@dataclass(frozen=True)
class Selector:
    """A named selector; one that does not learn ignores scores and generator, so that one call serves all splits."""

    name: str
    prefer: Prefer
    kind: str = "static"  # static, query or bound, as in the selection table
    learns: bool = False


REGISTRY: dict[str, Selector] = {}


def find(name: str) -> Selector:
    """The selector that the config calls `name`; `search_8` searches with 8 items, and so on."""
    if name in REGISTRY:
        return REGISTRY[name]
    if match := SEARCH.fullmatch(name):
        return Selector(name, partial(search, items=int(match[1])), learns=True)
    raise StudyError(f"selection.selectors: {name!r} is none of {', '.join(REGISTRY)} and search_K with a number K")


def register(name: str, kind: str = "static", learns: bool = False) -> Callable[[Prefer], Prefer]:
    """Enter a function into the registry as the selector `name`."""

    def enter(prefer: Prefer) -> Prefer:
        REGISTRY[name] = Selector(name, prefer, kind, learns)
        return prefer

    return enter


@register("random")
def no_preference(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float:
    """Any candidate: ties are averaged over, which makes this the expectation over random picks."""
    return np.zeros(materials.features.height)


@register("oracle", kind="bound", learns=True)
def oracle(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float:
    """The best candidate on the whole choosing half: no one-for-all selector can know more."""
    return chosen.mean(axis=1)


def search(materials: Materials, chosen: Float, rng: np.random.Generator, items: int) -> Float:
    """The best candidate on `items` random items of the choosing half: a plain validation-set search."""
    if items > chosen.shape[1]:
        raise StudyError(
            f"selection.selectors: search_{items} needs {items} items, half of them are {chosen.shape[1]}; "
            "take it off the list or raise datasets.*.items"
        )
    return chosen[:, rng.choice(chosen.shape[1], items, replace=False)].mean(axis=1)


@register("length", learns=True)
def length(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float:
    """The longest or the shortest candidate, whichever way the choosing half points."""
    return _best_signal(centred_ranks(materials.features["length"].to_numpy())[None], chosen, rng)


@register("activation", learns=True)
def activation(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float | None:
    """The extreme of the activation signal that correlates best with quality on the choosing half, in its direction."""
    return _best_signal(materials.activation, chosen, rng) if len(materials.activation) else None


@register("nll")
def nll(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float:
    """The candidate with the lowest perplexity (Gonen et al. 2023)."""
    return -materials.features["nll"].to_numpy()


@register("uncertainty")
def uncertainty(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float | None:
    """The candidate whose own answer the model is least sure of: highest zero-shot entropy. None without choices."""
    entropy = materials.features["zero_shot_entropy"]
    return None if entropy.null_count() else entropy.to_numpy()


@register("typicality")
def typicality(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float:
    """The candidate with the closest neighbours (TypiClust: Hacohen et al. 2022)."""
    return materials.features["typicality"].to_numpy()


@register("nearest", kind="query")
def nearest(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float:
    """For every item the candidate with the most similar embedding, by cosine (Liu et al. 2022)."""
    return _directions(materials.candidate_vectors) @ _directions(materials.item_vectors).T


@register("nearest_bm25", kind="query")
def nearest_bm25(materials: Materials, chosen: Float, rng: np.random.Generator) -> Float:
    """For every item the candidate whose question shares the most telling words (BM25: Robertson et al. 1994)."""
    corpus, queries = (
        bm25s.tokenize(texts, stopwords="english", return_ids=False, show_progress=False)
        for texts in (materials.candidate_texts, materials.item_texts)
    )
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    silent = np.zeros(len(corpus))
    return np.stack([index.get_scores(words) if words else silent for words in queries], axis=1)


def _best_signal(ranks: Ranks, chosen: Float, rng: np.random.Generator) -> Float:
    """Preference by the signal, and its direction, with the largest |rho|; learned on other candidates than offered.

    A random half of the candidates teaches and is then out of the running; no candidate is preferred where quality
    does not vary among them.
    """
    teachers: NDArray[np.bool_] = rng.permutation(ranks.shape[1]) < ranks.shape[1] // 2
    best, rho = strongest(ranks, chosen[teachers].mean(axis=1), teachers)
    return np.where(teachers, -np.inf, np.sign(rho) * ranks[best])


def _directions(vectors: Float) -> Float:
    """Rows scaled to length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
