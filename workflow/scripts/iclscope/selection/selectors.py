"""Ways to choose a demonstration, each a small function under a name of the config's `selection.selectors`.

A selector returns how much it prefers each candidate, higher is better: [C] if one candidate serves all items, [C, N]
if every item has its own. One that learns sees the scores of one half of the items only and is judged on the other
half; one that learns what good candidates look like does so from half of the candidates, which are then out of the
running.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.runtime.errors import StudyError
from iclscope.selection import diversity, halving
from iclscope.selection.costs import Tokens
from iclscope.selection.strata import stratified
from iclscope.signals.questions import Questions
from iclscope.signals.sae_codes import Reading
from iclscope.statistics.points import points_of, standardised
from iclscope.statistics.ranks import BLOCK, Float, Ranks, centred_ranks, correlations, strongest_signal, unit

SEARCH = re.compile(r"(search|search_strat|shortlist|halving)_([1-9]\d*)")
SHORTLIST = 4  # a shortlist is this part of the candidates, each tried on this many times K items
EACH = "activation_each"
PENALTIES = np.geomspace(1e-3, 1e3, 13)  # of the ridge ranker, in units of the mean squared length of a candidate


@dataclass(frozen=True)
class Materials:
    """What selectors may look at besides scores; rows in the order of candidate and item ids.

    `features` is the feature table; vectors are [C, d] and [N, d], and so are encodings, which a sentence encoder
    makes if one is configured; texts are questions, `questions` what the model makes of them at its layers, if that is
    read; `activation` [signals, C] are centred ranks of the defined activation signals, `metrics` [signals] their
    metrics. `item_labels` [N] are indices of the right choices, None for generated answers; `probe` [C, width] are
    activations of the last token where `selection.probe` says, if it does; `sae` is what the SAE of `selection.sae`
    makes of both, `sae_twin` what its untrained twin does, if it has one.
    """

    features: pl.DataFrame
    candidate_vectors: Float
    item_vectors: Float
    candidate_texts: Sequence[str]
    item_texts: Sequence[str]
    activation: Ranks
    metrics: NDArray[np.str_]
    candidate_encodings: Float | None = None
    item_encodings: Float | None = None
    item_labels: NDArray[np.int64] | None = None
    probe: Float | None = None
    questions: Questions | None = None
    sae: Reading | None = None
    sae_twin: Reading | None = None

    @cached_property
    def directions(self) -> Float:
        """Embeddings of the candidates scaled to length 1 [C, d]."""
        return unit(self.candidate_vectors)

    @cached_property
    def coordinates(self) -> Float:
        """Candidates as points [C, axes] whose products are those of their activation signals, each of length 1."""
        gram = np.zeros((self.activation.shape[1],) * 2)
        for first in range(0, len(self.activation), BLOCK):
            rows = unit(self.activation[first : first + BLOCK]).astype(np.float32)
            gram += rows.T @ rows
        return points_of(gram)


@dataclass(frozen=True)
class Lesson:
    """What a selector may learn from: `scores` [C, n] on the choosing half of the items.

    `teachers` [C] is the half of the candidates from which it learns what good ones look like. `labels` [n] are the
    gold labels of these items, None for generated answers; `items` [n] their ids.
    """

    materials: Materials
    scores: Float
    teachers: NDArray[np.bool_]
    labels: NDArray[np.int64] | None = None
    items: NDArray[np.int64] | None = None

    @cached_property
    def quality(self) -> Float:
        """Mean score of every teacher."""
        return self.scores[self.teachers].mean(axis=1)

    @cached_property
    def rho(self) -> Float:
        """Correlation of every activation signal with the quality of the teachers [signals]."""
        return correlations(self.materials.activation, self.quality, self.teachers)

    def others_by(self, preference: Float) -> Float:
        """The preference [C] with the teachers out of the running."""
        return np.where(self.teachers, -np.inf, preference)


# (materials, lesson, generator) → preference; None if the data set lacks what the selector needs
Prefer = Callable[..., Float | None]


@dataclass(frozen=True)
class Selector:
    """A named selector; one that does not learn gets no lesson, so that one call serves all splits.

    `kind` is static or query, as in the selection table; `cost` counts the tokens that are read for a choice. With
    `by_chance`, preferences are chances to be drawn. `tried` is the number of items of the choosing half on which the
    very candidates that it prefers were scored, infinite for all of them.
    """

    name: str
    prefer: Prefer
    kind: str = "static"
    learns: bool = False
    by_chance: bool = False
    tried: float = 0
    cost: Callable[[Tokens], float] = lambda tokens: 0.0


REGISTRY: dict[str, Selector] = {}


def resolve(names: Sequence[str], metrics: Sequence[str] = ()) -> list[Selector]:
    """The selectors that the config calls `names`, each once, in order.

    `search_8` searches with 8 items, and so on; `activation_each` stands for a selector per activation metric.
    """
    found: dict[str, Selector] = {}
    for name in names:
        if name == EACH:
            each = REGISTRY[EACH]
            mine = [
                Selector(f"activation_{m}", partial(each.prefer, metric=m), learns=True, cost=each.cost)
                for m in metrics
            ]
        elif name in REGISTRY:
            mine = [REGISTRY[name]]
        elif match := SEARCH.fullmatch(name):
            search = SEARCHES[match[1]]
            items = int(match[2])
            prefer, cost = partial(search.prefer, items=items), partial(search.cost, items=items)
            mine = [Selector(name, prefer, learns=True, tried=items * search.times, cost=cost)]
        else:
            known = ", ".join(REGISTRY)
            searches = ", ".join(f"{search}_K" for search in SEARCHES)
            raise StudyError(f"selection.selectors: {name!r} is none of {known} and {searches} with a number K")
        found |= {selector.name: selector for selector in mine}
    return list(found.values())


def register(name: str, **about: Any) -> Callable[[Prefer], Prefer]:
    """Enter a function into the registry as the selector `name`; `about` are the other fields of `Selector`."""

    def enter(prefer: Prefer) -> Prefer:
        REGISTRY[name] = Selector(name, prefer, **about)
        return prefer

    return enter


@register("random", by_chance=True)
def any_candidate(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """Any candidate, all with the same chance."""
    return np.ones(materials.features.height)


@register("random_balanced", by_chance=True)
def random_balanced(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """Any label with the same chance, then any candidate with that label. None without labels."""
    labels = materials.features["label"]
    if labels.null_count():
        return None
    _, label, times = np.unique(labels.to_numpy(), return_inverse=True, return_counts=True)
    return 1 / times[label]


@register("search_half", learns=True, tried=math.inf, cost=lambda tokens: tokens.trials(len(tokens.prompts) / 2))
def search_half(materials: Materials, lesson: Lesson, rng: np.random.Generator) -> Float:
    """The best candidate on half of the items: the largest search that other items can judge."""
    return lesson.scores.mean(axis=1)


def search(materials: Materials, lesson: Lesson, rng: np.random.Generator, items: int) -> Float:
    """The best candidate on `items` random items of the choosing half: a plain validation-set search."""
    items = _known(f"search_{items}", items, lesson)
    return lesson.scores[:, rng.choice(lesson.scores.shape[1], items, replace=False)].mean(axis=1)


def search_strat(materials: Materials, lesson: Lesson, rng: np.random.Generator, items: int) -> Float:
    """The same with items taken evenly over gold labels and weighted; the plain search where answers are generated."""
    items = _known(f"search_strat_{items}", items, lesson)
    if lesson.labels is None or materials.item_labels is None:
        return search(materials, lesson, rng, items)
    return lesson.scores @ stratified(lesson.labels, materials.item_labels, items, rng)


def shortlist(materials: Materials, lesson: Lesson, rng: np.random.Generator, items: int) -> Float | None:
    """The best of the quarter that `content_free` prefers, by a stratified search on 4 `items`; then all others.

    None without `features.content_free`.
    """
    tried = _known(f"shortlist_{items}", SHORTLIST * items, lesson)
    first = content_free(materials, None, rng)
    if first is None:
        return None
    found = search_strat(materials, lesson, rng, tried)
    place = np.argsort(np.argsort(-first, kind="stable"))  # 0 is the one that content_free prefers most
    return np.where(place < -(-len(first) // SHORTLIST), found, found.min() - 1 - place)


def halve(materials: Materials, lesson: Lesson, rng: np.random.Generator, items: int) -> Float:
    """Sequential halving: `items` random items for all candidates, twice as many new ones for the better half, …."""
    items = _known(f"halving_{items}", items, lesson)
    return halving.ranked(lesson.scores[:, rng.permutation(lesson.scores.shape[1])], items, rng)


def _known(name: str, items: int, lesson: Lesson) -> int:
    """How many of so many `items` the half has: all, but for a few where clusters leave it less than half of them."""
    known = lesson.scores.shape[1]
    if known < items and len(lesson.materials.item_texts) // 2 < items:
        raise StudyError(
            f"selection.selectors: {name} needs {items} items, half of them are {known}; "
            "take it off the list or raise datasets.*.items"
        )
    return min(items, known)


class Search(NamedTuple):
    """A search with a number of items in its name, of which it tries candidates on so many `times` as many."""

    prefer: Prefer
    cost: Callable[..., float]
    times: int = 1


SEARCHES = {
    "search": Search(search, Tokens.trials),
    "search_strat": Search(search_strat, Tokens.trials),
    "shortlist": Search(shortlist, Tokens.shortlist, SHORTLIST),
    "halving": Search(halve, Tokens.halving),
}


@register("length", learns=True, cost=Tokens.lessons)
def length(materials: Materials, lesson: Lesson, rng: np.random.Generator) -> Float:
    """The longest or the shortest candidate, whichever way the choosing half points."""
    ranks = centred_ranks(materials.features["length"].to_numpy())
    _, rho = strongest_signal(ranks[None], lesson.quality, lesson.teachers)
    return lesson.others_by(np.sign(rho) * ranks)


@register("activation", learns=True, cost=lambda tokens: tokens.read_masked() + tokens.lessons())
def activation(materials: Materials, lesson: Lesson, rng: np.random.Generator) -> Float | None:
    """The extreme of the activation signal that correlates best with quality on the choosing half, in its direction."""
    return _extreme(materials, lesson, np.arange(len(materials.activation)))


@register("activation_each", learns=True, cost=lambda tokens: tokens.read_masked() + tokens.lessons())
def activation_each(materials: Materials, lesson: Lesson, rng: np.random.Generator, metric: str = "") -> Float | None:
    """As `activation`, but of one metric: only mask, site, layer and pooling are chosen."""
    return _extreme(materials, lesson, np.flatnonzero(materials.metrics == metric))


@register("ridge", learns=True, cost=lambda tokens: tokens.read_masked() + tokens.lessons())
def ridge(materials: Materials, lesson: Lesson, rng: np.random.Generator) -> Float | None:
    """The candidate with the best quality as predicted from all activation signals together.

    Ridge regression on the teachers, with the penalty that predicts left-out teachers best.
    """
    return regressed(materials.coordinates, lesson) if len(materials.activation) else None


@register("probe", learns=True, cost=lambda tokens: tokens.read() + tokens.lessons())
def probe(materials: Materials, lesson: Lesson, rng: np.random.Generator) -> Float | None:
    """The candidate with the best quality as a linear probe of the last token's activation predicts it.

    Ridge regression as in `ridge`, on one site and layer. None without `selection.probe`.
    """
    return None if materials.probe is None else regressed(standardised(materials.probe), lesson)


def regressed(points: Float, lesson: Lesson) -> Float:
    """Quality of the candidates at `points` [C, d] as ridge regression on the teachers predicts it."""
    from sklearn.linear_model import RidgeCV  # takes a second, and no other selector needs it

    model = RidgeCV(PENALTIES).fit(points[lesson.teachers], lesson.quality)
    return lesson.others_by(model.predict(points))


@register("nll", cost=Tokens.read)
def nll(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """The candidate with the lowest perplexity (Gonen et al. 2023)."""
    return -materials.features["nll"].to_numpy()


@register("uncertainty_nll", cost=Tokens.read)
def uncertainty_nll(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """The candidate with the highest perplexity (Margatina et al. 2023)."""
    return materials.features["nll"].to_numpy()


@register("uncertainty", cost=Tokens.read)
def uncertainty(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """The candidate whose own answer the model is least sure of: highest zero-shot entropy. None without choices."""
    entropy = materials.features["zero_shot_entropy"]
    return None if entropy.null_count() else entropy.to_numpy()


@register("uncertainty_margin", cost=Tokens.read)
def uncertainty_margin(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """The candidate whose right answer is closest to a tie with the best wrong one, zero-shot. None without choices."""
    margin = materials.features["zero_shot_margin"]
    return None if margin.null_count() else -np.abs(margin.to_numpy())


@register("content_free", cost=Tokens.read_content_free)
def content_free(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """The candidate after which a question without content is answered as the labels are spread (Ma et al. 2023).

    None without `features.content_free`.
    """
    shares = materials.features["content_free"]
    return None if shares.null_count() else shares.to_numpy()


@register("typicality", cost=Tokens.read)
def typicality(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """The candidate with the closest neighbours among all candidates."""
    return materials.features["typicality"].to_numpy()


@register("typiclust", cost=Tokens.read)
def typiclust(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """The candidate with the closest neighbours in the largest cluster, then in the next (Hacohen et al. 2022)."""
    return diversity.typiclust(materials.directions, int(rng.integers(2**31)))


@register("k_means", cost=Tokens.read)
def k_means(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """The candidate at the centre of the largest cluster, then of the next."""
    return diversity.k_means(materials.directions, int(rng.integers(2**31)))


@register("k_centre", cost=Tokens.read)
def k_centre(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """The candidate nearest to the mean, then the one farthest from it, and so on (Sener and Savarese 2018)."""
    return diversity.k_centre(materials.directions)


@register("vote_k", cost=Tokens.read)
def vote_k(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """The candidate that is a near neighbour of most others, then of those not served yet (Su et al. 2023)."""
    return diversity.vote_k(materials.directions)


def _extreme(materials: Materials, lesson: Lesson, rows: NDArray[np.int64]) -> Float | None:
    """Preference by the signal of `rows` with the largest |rho|, in its direction; None without any signal."""
    if not len(rows):
        return None
    best = rows[np.argmax(np.abs(lesson.rho[rows]))]
    return lesson.others_by(np.sign(lesson.rho[best]) * materials.activation[best])
