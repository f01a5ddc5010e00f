"""How prompts that share a prefix are laid out for forward passes: as trees in which no token stands twice.

Prompts may begin alike beyond the prefix, and so may the choices of one prompt. A token sees the tokens on its way from
the root; its position is its depth:

    prefix . What do bees make? (wax | a (hive | nest)) | cows eat? (grass | a fly)

Tokens stand in preorder, so that those which see a token follow it without a gap. Linear maps read this sequence as it
is; for attention, it is laid out in rows or in blocks. The first batch reads the prefix too, later ones find it in the
cache.

The last token of a continuation predicts nothing that is asked for, so it is left out.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from iclscope.engine.prompts import Prompt


@dataclass(frozen=True)
class Batch:
    """One forward pass: tokens in preorder.

    tokens, positions, end: int64 [n]; token i is seen by tokens i to end[i], exclusive. last: by the index of a prompt,
    the token that its context ends with. spans: first token and end of the prefix, and of what each prompt has that no
    earlier one has. wanted: int64 [predictions, 4]: the token that predicts, the one that is predicted, prompt,
    continuation. shared: tokens of the prefix, which this batch or an earlier one reads.
    """

    tokens: np.ndarray
    positions: np.ndarray
    end: np.ndarray
    last: dict[int, int]
    spans: list[tuple[int, int]]
    wanted: np.ndarray
    shared: int

    @property
    def cached(self) -> int:
        """Tokens of the shared prefix that an earlier batch has read."""
        return int(self.positions[0])

    @property
    def predicting(self) -> np.ndarray:
        """Tokens that predict one of a continuation, or that end a context, which serves all of its choices."""
        return np.unique([*self.wanted[:, 0], *self.last.values()])

    def seen(self, token: int) -> np.ndarray:
        """Tokens of the batch that `token` sees, itself included: int64 [seen]."""
        return np.flatnonzero(self.end[: token + 1] > token)


def shared_length(contexts: Sequence[Sequence[int]]) -> int:
    """Tokens that all contexts begin with, leaving each at least one token of its own."""
    ordered = sorted(map(list, contexts))
    return min(_common(ordered[0], ordered[-1]), min(map(len, contexts)) - 1)


def pack(prompts: Sequence[Prompt], shared: int, batch_tokens: int, by_length: bool = False) -> Iterator[Batch]:
    """Yield prompts laid out in batches of `batch_tokens` or fewer, or of one prompt that is longer.

    Those that begin alike stand together, or with `by_length` those of similar length, longest first. The layout is a
    function of the prompts alone.
    """
    own = [prompt.context[shared:] for prompt in prompts]
    new = [len(own[i]) + _new_tokens([c[:-1] for c in prompt.continuations]) for i, prompt in enumerate(prompts)]
    queue = _Queue(sorted(range(len(prompts)), key=lambda i: (-len(own[i]) if by_length else 0, own[i], i)), own, new)
    room, with_prefix = batch_tokens - shared, True
    while queue.waiting:
        in_order = sorted(queue.take(room), key=lambda i: (own[i], i))
        yield _lay_out(in_order, prompts, shared, with_prefix)
        room, with_prefix = batch_tokens, False


class _Queue:
    """Prompts that wait for a batch, in an order that does not change."""

    def __init__(self, waiting: list[int], own: Sequence[Sequence[int]], new: Sequence[int]) -> None:
        self.waiting = waiting
        self._new = new  # tokens that a prompt brings where nothing before it begins alike
        # What each begins with like the one before it. Like one further before, it begins with the least between them.
        self._common = dict(zip(waiting[1:], (_common(own[a], own[b]) for a, b in pairwise(waiting)), strict=True))
        self._common[waiting[0]] = 0
        fewest = [new[index] - self._common[index] for index in waiting]
        self._fewest = dict(zip(reversed(waiting), accumulate(reversed(fewest), min), strict=True))  # from there on

    def take(self, room: int) -> list[int]:
        """Take the first, and of the others each that has room beside the last one taken."""
        taken: list[int] = []
        left: list[int] = []
        before = taken_between = sys.maxsize  # tokens in common with the last one taken; with the last one left
        for place, index in enumerate(self.waiting):
            if taken and room < self._fewest[index]:
                left += self.waiting[place:]
                self._common[index] = min(self._common[index], taken_between)
                break
            before = min(before, self._common[index]) if taken else 0
            taken_between = min(taken_between, self._common[index])
            if not taken or self._new[index] - before <= room:
                taken.append(index)
                room -= self._new[index] - before
                before = sys.maxsize
            else:
                left.append(index)
                self._common[index] = taken_between
                taken_between = sys.maxsize
        self.waiting = left
        return taken


def whole_tree(prompts: Sequence[Prompt]) -> Batch:
    """All prompts in one batch."""
    return next(pack(prompts, shared_length([prompt.context for prompt in prompts]), sys.maxsize))


def computed_tokens(prompts: Sequence[Prompt]) -> int:
    """Tokens that a model reads to score all prompts in one batch."""
    shared = shared_length([prompt.context for prompt in prompts])
    branches = sum(_new_tokens([c[:-1] for c in prompt.continuations]) for prompt in prompts)
    return shared + _new_tokens([prompt.context[shared:] for prompt in prompts]) + branches


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Tokens that two sequences begin with."""
    for length, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return length
    return min(len(left), len(right))


def _new_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens of a tree of sequences."""
    ordered = sorted(map(list, sequences))
    return sum(map(len, ordered)) - sum(_common(a, b) for a, b in pairwise(ordered))


class _Tree:
    """Tokens in preorder; `path` holds those that the next one sees."""

    def __init__(self, cached: int) -> None:
        self.cached = cached
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.end: list[int] = []
        self.path: list[int] = []

    def follow(self, depth: int, tokens: Sequence[int]) -> None:
        """Go back to the first `depth` tokens of the path, and put `tokens` behind them."""
        end = len(self.tokens)
        for token in self.path[depth:]:
            self.end[token] = end
        del self.path[depth:]
        first, position = len(self.tokens), self.cached + depth
        self.tokens += tokens
        self.positions += range(position, position + len(tokens))
        self.end += [0] * len(tokens)
        self.path += range(first, len(self.tokens))


def _lay_out(members: Sequence[int], prompts: Sequence[Prompt], shared: int, with_prefix: bool) -> Batch:
    """The tree of the prompts with these indices, which are in the order of their contexts."""
    prefix = prompts[members[0]].context[:shared] if with_prefix else []
    tree, root = _Tree(0 if with_prefix else shared), len(prefix)
    tree.follow(0, prefix)
    spans = [(0, root)]
    last, wanted = {}, []
    own: list[int] = []
    for index in members:
        before, own = own, prompts[index].context[shared:]
        common, first = _common(before, own), len(tree.tokens)
        tree.follow(root + common, own[common:])
        fork = len(tree.path)
        last[index] = tree.path[-1]
        branch: list[int] = []
        for k, continuation in sorted(enumerate(prompts[index].continuations), key=lambda pair: pair[1]):
            before, branch = branch, continuation[:-1]
            common = _common(before, branch)
            tree.follow(fork + common, branch[common:])
            wanted += [(p, t, index, k) for p, t in zip(tree.path[fork - 1 :], continuation, strict=False)]
        tree.follow(fork, [])
        spans.append((first, len(tree.tokens)))
    tree.follow(0, [])
    tokens, positions, end = (np.array(column, dtype=np.int64) for column in (tree.tokens, tree.positions, tree.end))
    return Batch(tokens, positions, end, last, spans, np.array(wanted, dtype=np.int64).reshape(-1, 4), shared)
