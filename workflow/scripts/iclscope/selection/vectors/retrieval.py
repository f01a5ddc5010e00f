"""Selectors that choose for every item the candidate whose question is most like it."""

import bm25s
import numpy as np
from numpy.typing import NDArray

from iclscope.selection.costs import Tokens
from iclscope.selection.selectors import Lesson, Materials, register
from iclscope.signals.questions import cosines
from iclscope.statistics.gains.pools import one_per_item
from iclscope.statistics.ranks import Float


@register("nearest", kind="query", cost=Tokens.read_all)
def nearest(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """For every item the candidate with the most similar embedding, by cosine (Liu et al. 2022)."""
    return cosines(materials.candidate_vectors, materials.item_vectors)


@register("nearest_encoder", kind="query", cost=Tokens.read_all)
def nearest_encoder(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """The same with embeddings of the sentence encoder; None if `features.encoder` is not set."""
    if materials.candidate_encodings is None or materials.item_encodings is None:
        return None
    return cosines(materials.candidate_encodings, materials.item_encodings)


@register("nearest_bm25", kind="query")
def nearest_bm25(materials: Materials, lesson: None, rng: np.random.Generator) -> Float:
    """For every item the candidate whose question shares the most telling words (BM25: Robertson et al. 1994)."""
    corpus, queries = (
        bm25s.tokenize(texts, stopwords="english", return_ids=False, show_progress=False)
        for texts in (materials.candidate_texts, materials.item_texts)
    )
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    silent = np.zeros(len(corpus))
    return np.stack([index.get_scores(words) if words else silent for words in queries], axis=1)


@register("nearest_last", kind="query", cost=Tokens.read_all)
def nearest_last(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """As `nearest`, by the final hidden state of the last token. None without `representations`."""
    questions = materials.questions
    return None if questions is None else questions.likeness(questions.last)


@register("nearest_layer", kind="query", learns=True, cost=lambda tokens: tokens.read_all() + tokens.all_pairs())
def nearest_layer(materials: Materials, lesson: Lesson, rng: np.random.Generator) -> Float | None:
    """As `nearest`, at the layer and pooling whose picks score best on the choosing half. None as above."""
    questions = materials.questions
    if questions is None or not questions.places or lesson.items is None:
        return None
    asked, worth = np.arange(len(lesson.items)), []
    for place in questions.places:
        picks = questions.likeness(place)[:, lesson.items].argmax(axis=0)  # type: ignore[index]
        worth.append(lesson.scores[picks, asked].mean())
    return questions.likeness(questions.places[int(np.argmax(worth))])


def label_match(preference: Float, same: NDArray[np.bool_], scores: Float, size: int) -> tuple[float, float]:
    """How often picks have the label of their item, and what that alone gains over random candidates.

    Both are expected in random pools of `size` candidates; `preference`, `same` label and `scores` are [C, N]. What it
    gains alone: the score of a random candidate with the item's label, or with another one, as often as the pick has
    that label.
    """
    matched = one_per_item(preference, same.astype(np.float64), [size], 1.0)
    share = same.mean(axis=0) + matched.gain[0, 0] + matched.items[0, 0] * same.shape[1]
    own, other = _means(scores, same), _means(scores, ~same)
    alike = np.where(share > 0, share * own, 0) + np.where(share < 1, (1 - share) * other, 0)
    return float(share.mean()), float((alike - scores.mean(axis=0)).mean())


def _means(scores: Float, ours: NDArray[np.bool_]) -> Float:
    """Mean of some scores of each item [N]; that of all candidates where there are none."""
    count = ours.sum(axis=0)
    return np.where(count, (scores * ours).sum(axis=0) / np.maximum(count, 1), scores.mean(axis=0))
