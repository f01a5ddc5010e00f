"""Where quality comes from: variance components of the score matrix, and quality balanced over gold labels.

A score is level of the item + level of the candidate + the candidate's push towards the item's gold label + rest, the
candidate x item interaction within labels. Labels are a fixed few, pushes of a candidate sum to zero over them;
candidates, items and models are samples. Components are those of an analysis of variance (Brennan 2001,
Generalizability Theory): unbiased, and so below zero at times where there is nothing.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import Float


@dataclass(frozen=True)
class Components:
    """Variances of one score: of the `candidate`, the `item` within its label, the label `push` and the `rest`."""

    candidate: float
    item: float
    push: float
    rest: float

    def times(self, factor: float) -> "Components":
        """All of them times `factor`."""
        return Components(*(getattr(self, field.name) * factor for field in fields(self)))

    def minus(self, other: "Components") -> "Components":
        """What is left of each."""
        return Components(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True)
class Sources:
    """Where the variance of quality, a plain mean over these items, comes from; the four parts sum to `total`.

    `level` is how good candidates are on all labels alike, `push` how a push meets the shares of the labels among these
    items, `both` twice the covariance of the two, and `rest` the noise of these items.
    """

    level: float
    push: float
    both: float
    rest: float

    @property
    def total(self) -> float:
        """Variance of quality."""
        return self.level + self.push + self.both + self.rest


def label_numbers(gold: NDArray[np.int64] | None, items: int) -> NDArray[np.int64]:
    """Gold labels [N] numbered from 0; one for all `items` without."""
    return np.zeros(items, np.int64) if gold is None else np.unique(gold, return_inverse=True)[1]


def label_means(scores: Float, labels: NDArray[np.int64]) -> Float:
    """Mean of `scores` [..., C, N] over the items of each label [..., C, labels]."""
    member = labels[:, None] == np.arange(labels.max() + 1)
    return scores @ (member / member.sum(axis=0))


def components_of(scores: Float, gold: NDArray[np.int64] | None = None) -> Components:
    """Components of `scores` [C, N], of which some label has two items, with the items' `gold` labels [N] if any."""
    labels = label_numbers(gold, scores.shape[1])
    candidates, items = scores.shape
    count = np.bincount(labels)
    means = label_means(scores, labels)  # [C, labels]
    within = scores - means[:, labels]  # what is not level or push
    item = within.mean(axis=0)
    rest = float(((within - item) ** 2).sum() / ((candidates - 1) * (items - len(count))))
    level = means.mean(axis=1)
    push = means - means.mean(axis=0) - (level - level.mean())[:, None]
    noise = rest * float((1 / count).mean())  # in the mean score of a label
    return Components(
        candidate=float(level.var(ddof=1)) - noise / len(count),
        item=float((item**2).sum() / (items - len(count))) - rest / candidates,
        push=float((push**2).sum() / (candidates - 1)) / len(count) - noise * (1 - 1 / len(count)),
        rest=rest,
    )


def components_of_models(scores: Float, gold: NDArray[np.int64] | None = None) -> tuple[Components, Components]:
    """Components shared by models, and those times model, from `scores` [M, C, N] of two models or more.

    Scores that are means over the models have the shared ones plus 1/M of the others; differences from that mean have
    (M - 1)/M of the others.
    """
    models = len(scores)
    mean = scores.mean(axis=0)
    apart = np.array([[*vars(components_of(own - mean, gold)).values()] for own in scores])
    with_model = Components(*(apart.sum(axis=0) / (models - 1)))
    return components_of(mean, gold).minus(with_model.times(1 / models)), with_model


def sources(scores: Float, gold: NDArray[np.int64] | None = None) -> Sources:
    """Sources of the variance of the mean of `scores` [C, N] over these items."""
    labels = label_numbers(gold, scores.shape[1])
    share = np.bincount(labels) / len(labels)
    means = label_means(scores, labels)
    level = means.mean(axis=1)
    pushed = means @ share - level
    rest, count = components_of(scores, gold).rest, np.bincount(labels)
    noise = rest / count  # of the mean score of each label
    tilt = share - 1 / len(share)
    return Sources(
        level=float(level.var(ddof=1)) - float(noise.mean()) / len(share),
        push=float(pushed.var(ddof=1)) - float((tilt**2 * noise).sum()),
        both=2 * (float(np.cov(level, pushed)[0, 1]) - float((tilt * noise).mean())),
        rest=rest / len(labels),
    )


def balanced(scores: Float, gold: NDArray[np.int64] | None) -> Float:
    """Scores [..., C, N] whose plain mean over items is quality balanced over labels, and whose noise is its noise.

    Every label counts alike, however many items have it: the mean over labels of the mean over the items of each. A
    candidate's push is taken off its rows, and what is left of a label's items is weighted by how few they are, so that
    the interaction of candidate and item is that of a sample stratified by label. Needs two items of each label.
    """
    labels = label_numbers(gold, scores.shape[-1])
    items, count = scores.shape[-1], np.bincount(labels)
    means = label_means(scores, labels)
    weight = items / (len(count) * count) * np.sqrt(count / (count - 1) * (items - 1) / items)
    return means.mean(axis=-1, keepdims=True) + weight[labels] * (scores - means[..., labels])
