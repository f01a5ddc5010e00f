"""Which sets of k demonstrations are tried: chosen from the one-shot score matrix, and drawn at random."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclscope.matrix.quality import BALANCED, COLUMNS, FEWEST_OF_LABEL, SHIFTED, Files, primary_of, read_scores
from iclscope.runtime.errors import StudyError
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator, random_half
from iclscope.tables import RANDOM_SETS, SAMPLE
from iclscope.tasks.samples import Groups, labels_of

Labels = NDArray[np.int64]
Members = tuple[int, ...]

RANDOM, RANDOM_BALANCED = RANDOM_SETS
FOLDS = (0, 1)
HALVES = 20  # that are drawn to find an even one


@dataclass(frozen=True)
class Set:
    """Candidates `members` in the order of the prompt.

    `name`: how they were chosen or drawn. `order`: 0 as chosen, else another order of the same. `fold`: the half of
    the items that chose them; None: all items, or none.
    """

    name: str
    members: Members
    order: int = 0
    fold: int | None = None


@dataclass(frozen=True)
class Chosen:
    """The one-shot scores by which sets are chosen, and what they need to be judged by the same.

    `target` is a quality target that sets have too; `scores` Y [C, N]; `groups` of candidates and items; `labels` [C],
    None where candidates have none in common; `halves` [N]: the items of fold 0, which choose for those of fold 1.
    """

    target: str
    scores: Float
    groups: Groups
    labels: Labels | None
    halves: NDArray[np.bool_]


def balanced(scores: Float, labels: Labels | None, k: int) -> Members | None:
    """The best candidate of each label in turn, labels with the best candidates first; None without labels."""
    if labels is None:
        return None
    ranked = _best_first(scores)
    turn = np.empty(len(ranked), dtype=np.int64)  # first, second … of its label
    for label in np.unique(labels):
        mine = labels[ranked] == label
        turn[mine] = np.arange(mine.sum())
    return tuple(ranked[np.argsort(turn, kind="stable")[:k]].tolist())


def top(scores: Float, labels: Labels | None, k: int) -> Members:
    """The best candidates."""
    return tuple(_best_first(scores)[:k].tolist())


def cover(scores: Float, labels: Labels | None, k: int) -> Members:
    """Candidates added one by one so that the best of them for each item is as good as can be."""
    members: list[int] = []
    reached = np.full(scores.shape[1], -np.inf)
    for _ in range(k):
        worth = np.maximum(reached, scores).mean(axis=1)
        worth[members] = -np.inf
        members.append(int(worth.argmax()))
        reached = np.maximum(reached, scores[members[-1]])
    return tuple(members)


# name → (scores [C, n] on the choosing items, labels [C], k) → members; None where the data set has no labels
RULES: dict[str, Callable[[Float, Labels | None, int], Members | None]] = {
    "balanced": balanced,
    "top": top,
    "cover": cover,
}


def chosen_sets(
    scores: Float,
    labels: Labels | None,
    halves: NDArray[np.bool_],
    settings: Mapping[str, Any],
    rng: np.random.Generator,
) -> Iterator[Set]:
    """The sets that `settings` (the config's `shots`) ask for, chosen by `scores` Y [C, N].

    Each on one half of the items, the mask `halves` [N], on the other, and on all of them, this in several orders.
    `labels` [C] are indices of right answers, None where they stand for nothing that candidates have in common.
    """
    for k in settings["sizes"]:
        for name in settings["choose"]:
            for fold, half in zip((*FOLDS, None), (halves, ~halves, np.ones_like(halves)), strict=True):
                members = RULES[name](scores[:, half], labels, k)
                if members is None:
                    continue
                members = _best_last(members, scores[:, half])
                orders = [members] if fold is not None else _orders(members, settings["orders"], rng)
                yield from (Set(name, order, number, fold) for number, order in enumerate(orders))


def random_sets(
    candidates: int, labels: Labels | None, settings: Mapping[str, Any], rng: np.random.Generator
) -> Iterator[Set]:
    """Random sets of every size, and half as many in which labels are as even as can be, if there are `labels` [C]."""
    for k in settings["sizes"]:
        for _ in range(settings["random_sets"]):
            yield Set(RANDOM, tuple(rng.choice(candidates, k, replace=False).tolist()))
        if labels is not None:
            for _ in range(-(-settings["random_sets"] // 2)):
                yield Set(RANDOM_BALANCED, _evenly(labels, k, rng))


def _evenly(labels: Labels, k: int, rng: np.random.Generator) -> Members:
    """Random candidates, labels in turn in a random order, in a random order."""
    order = rng.permutation(len(labels))
    names = rng.permutation(np.unique(labels))
    turn, place = np.empty((2, len(labels)), dtype=np.int64)
    for number, label in enumerate(names):
        mine = labels[order] == label
        turn[mine], place[mine] = np.arange(mine.sum()), number
    taken = order[np.lexsort((place, turn))[:k]]
    return tuple(rng.permutation(taken).tolist())


def _orders(members: Members, number: int, rng: np.random.Generator) -> list[Members]:
    """The order as it is, and random other ones, all different: `number` together, or all that there are."""
    found = dict.fromkeys([members])
    while len(found) < min(number, factorial(len(members))):
        found[tuple(rng.permutation(members).tolist())] = None
    return list(found)


def _best_first(scores: Float) -> NDArray[np.int64]:
    """Candidates in falling mean score."""
    return np.argsort(-scores.mean(axis=1), kind="stable")


def _best_last(members: Sequence[int], scores: Float) -> Members:
    """Members in rising mean score."""
    return tuple(sorted(members, key=lambda member: scores[member].mean()))


def read_chosen(files: Files, settings: Mapping[str, Any], seed: int) -> Chosen:
    """What sets are chosen by; settings: `targets` and `primary` of the config's `quality`, and perhaps `items`."""
    known, groups = read_scores(files, settings["targets"])
    target = _scored_as(primary_of(known, settings["primary"]), groups.gold)
    if target in BALANCED and groups.gold is not None:
        tried = groups.gold[: tried_items(settings, len(groups.gold))]
        if np.bincount(tried, minlength=groups.gold.max() + 1)[np.unique(groups.gold)].min() < FEWEST_OF_LABEL:
            target = BALANCED[target]
    scores = known.get(target) or read_scores(files, [target])[0][target]
    rows = SAMPLE.read(files.candidates, columns=["id", "kind", "choices", "gold"]).sort("id").head(len(scores.matrix))
    labels = rows["gold"].to_numpy().astype(np.int64) if labels_of(rows.iter_rows(named=True)) else None
    halves = _halves(groups, tried_items(settings, len(groups.items)), seed)
    return Chosen(target, scores.matrix, groups, labels, halves)


def _halves(groups: Groups, tried: int, seed: int) -> NDArray[np.bool_]:
    """A random half of the items [N] that divides the first `tried` of them, which judge, as evenly as can be."""
    rng = generator(seed, "halves of shots")
    drawn = (random_half(groups.items, rng) for _ in range(HALVES))
    half = min(drawn, key=lambda half: abs(2 * int(half[:tried].sum()) - tried))
    if half[:tried].all() or not half[:tried].any():
        raise StudyError(f"shots.items: the first {tried} items are of one cluster and cannot be halved; ask for more")
    return half


def tried_items(settings: Mapping[str, Any], items: int) -> int:
    """On how many of the `items` of a study sets are tried: all, or as many as `shots.items` says."""
    return min(items, settings.get("items", items))


def _scored_as(target: str, gold: NDArray[np.int64] | None) -> str:
    """The target that sets are scored in for a quality target of the study.

    Sets are not calibrated; a shift by item changes no gain; and of generated answers there is only the right one.
    """
    target = SHIFTED.get(target, target).removesuffix("_calibrated")
    return "gold_logprob" if gold is None and COLUMNS[target] != "gold_logprob" else target
