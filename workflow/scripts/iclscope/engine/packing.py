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
from functools import lru_cache
from itertools import accumulate, chain, pairwise

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
        return np.union1d(self.wanted[:, 0], list(self.last.values()))

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
    new = [len(own[i]) + len(_branches_of(prompt).tokens) for i, prompt in enumerate(prompts)]
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
    branches = sum(len(_branches_of(prompt).tokens) for prompt in prompts)
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


@dataclass(frozen=True)
class _Branches:
    """The tree of a prompt's continuations, which many candidates share: numbers count from its first token.

    tokens, depth, end: of every token, in preorder. wanted: int64 [predictions, 3]: the token that predicts, -1 for the
    last one of the context; the one that is predicted; the continuation.
    """

    tokens: list[int]
    depth: np.ndarray
    end: np.ndarray
    wanted: np.ndarray


def _branches_of(prompt: Prompt) -> _Branches:
    return _branches(tuple(map(tuple, prompt.continuations)))


@lru_cache(maxsize=2**14)
def _branches(continuations: tuple[tuple[int, ...], ...]) -> _Branches:
    tokens: list[int] = []
    depth: list[int] = []
    end: list[int] = []
    wanted: list[tuple[int, int, int]] = []
    path: list[int] = []  # what the next token sees
    before: tuple[int, ...] = ()
    for k, continuation in sorted(enumerate(continuations), key=lambda pair: pair[1]):
        branch = continuation[:-1]
        common = _common(before, branch)
        for token in path[common:]:
            end[token] = len(tokens)
        path[common:] = range(len(tokens), len(tokens) + len(branch) - common)
        tokens += branch[common:]
        depth += range(common, len(branch))
        end += [0] * (len(branch) - common)
        wanted += ((predicts, token, k) for predicts, token in zip([-1, *path], continuation, strict=False))
        before = branch
    for token in path:
        end[token] = len(tokens)
    predictions = np.array(wanted, dtype=np.int64).reshape(-1, 3)
    return _Branches(tokens, np.array(depth, dtype=np.int64), np.array(end, dtype=np.int64), predictions)


def _lay_out(members: Sequence[int], prompts: Sequence[Prompt], shared: int, with_prefix: bool) -> Batch:
    """The tree of the prompts with these indices, which are in the order of their contexts."""
    prefix = prompts[members[0]].context[:shared] if with_prefix else []
    own = [prompts[index].context[shared:] for index in members]
    common = [0, *(_common(before, after) for before, after in pairwise(own))]
    branches = [_branches_of(prompts[index]) for index in members]
    # The prefix, and of each prompt what its context adds, its stem, and its branches.
    parts = [prefix]
    for context, start, branch in zip(own, common, branches, strict=True):
        parts += context[start:], branch.tokens
    sizes = np.array([len(part) for part in parts])
    ends = np.cumsum(sizes)
    first, fork, stop = (ends - sizes)[1::2], ends[1::2], ends[2::2]  # where stems begin, branches begin, and end
    length = np.array([len(context) for context in own])

    cached = 0 if with_prefix else shared
    root = cached + len(prefix)
    depth = np.empty(len(parts), dtype=np.int64)  # of each part's first token
    depth[0], depth[1::2], depth[2::2] = cached, root + np.array(common), root + length
    positions = np.repeat(depth - (ends - sizes), sizes) + np.arange(ends[-1])
    end, last = _ends(first, common, length, ends[-1])
    in_branch = np.repeat(np.arange(len(parts)) % 2 == 0, sizes)
    in_branch[: len(prefix)] = False
    positions[in_branch] = np.repeat(root + length, sizes[2::2]) + np.concatenate([b.depth for b in branches])
    end[in_branch] = np.repeat(fork, sizes[2::2]) + np.concatenate([b.end for b in branches])

    predicting, predicted, continuation = np.concatenate([b.wanted for b in branches]).T
    of = np.repeat(np.arange(len(members)), [len(b.wanted) for b in branches])
    predicting = np.where(predicting < 0, last[of], fork[of] + predicting)
    return Batch(
        np.fromiter(chain.from_iterable(parts), np.int64, ends[-1]),
        positions,
        end,
        dict(zip(members, last.tolist(), strict=True)),
        [(0, len(prefix)), *zip(first.tolist(), stop.tolist(), strict=True)],
        np.stack([predicting, predicted, np.array(members)[of], continuation], axis=1),
        shared,
    )


def _ends(first: np.ndarray, common: Sequence[int], length: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """The end of what sees each token of a context, int64 [total], and the last token of each context [prompts].

    first: the first token that each context adds. common: its tokens before that one. length: all of its tokens.
    """
    end = np.full(total, total)
    last = np.empty_like(first)
    path = np.zeros(length.max(), dtype=np.int64)  # tokens of the context before
    depth = 0
    for place, (start, shared, new_depth) in enumerate(zip(first.tolist(), common, length.tolist(), strict=True)):
        end[path[shared:depth]] = start
        path[shared:new_depth] = np.arange(start, start + new_depth - shared)
        depth, last[place] = new_depth, path[new_depth - 1]
    return end, last
