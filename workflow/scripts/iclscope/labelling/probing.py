"""A classifier on the labels alone, without a prompt: logistic regression on vectors of the questions."""

import numpy as np

from iclscope.labelling.pools import Ids
from iclscope.statistics.ranks import Float

ROUNDING = 1e-5  # share of the largest deviation below which a neuron does not vary
LENGTH = 5.0  # of an example: the mean squared length is 25, at which a penalty of 1 is neither loose nor tight


def scaled(candidates: Float, items: Float) -> tuple[Float, Float]:
    """Candidates [C, d] and items [N, d] with every neuron on one scale, that of the candidates, whose labels it needs
    not; the mean squared length of candidates is 25.
    """
    spread = candidates.std(axis=0)
    known = spread > ROUNDING * spread.max()
    scale = LENGTH / np.sqrt(known.sum()) * known / np.where(known, spread, 1)
    return (candidates - candidates.mean(axis=0)) * scale, (items - candidates.mean(axis=0)) * scale


def predict(points: Float, labels: Ids, items: Float) -> Ids:
    """Labels of items [N, d] by logistic regression (C = 1) on points [n, d] with `labels` [n].

    A penalty on squares keeps the weights in the span of the points, which have at most n axes: nothing is lost there.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second, and not every data set has labels

    if len(set(labels.tolist())) == 1:
        return np.full(len(items), labels[0])
    axes = np.linalg.qr(points.T)[0]
    model = LogisticRegression(C=1.0, max_iter=1000).fit(points @ axes, labels)
    found: Ids = model.predict(items @ axes)
    return found
