"""How prompts that share a prefix are laid out for one forward pass.

A prompt is a trunk (what follows the shared prefix) and a branch per choice. Several prompts stand in one row, several
rows in one batch; a token sees the prefix, its own trunk, and the earlier tokens of its own branch:

    prefix | trunk of item 7 . choice 0 . choice 1 | trunk of item 3 . choice 0 . choice 1 | padding
    pos 0…   P, P+1, …         P+m …      P+m …      P, P+1, …         restarted per prompt

The last token of a branch predicts nothing that is asked for, so it is left out. Rows are what attention sees; the
model reads them one behind the other, without padding (row_attention.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TRUNK = -1
PADDING = -2


@dataclass(frozen=True)
class Prompt:
    """Tokens of a prompt (shared prefix included) and of every continuation that is scored after it."""

    context: list[int]
    continuations: list[list[int]]


@dataclass(frozen=True)
class Batch:
    """One forward pass: rows of packed prompts, without the shared prefix.

    tokens, positions, owner (index of the prompt) and branch (index of the continuation, or TRUNK, or PADDING):
    int64 [rows, width]. trunks: for each prompt of the batch its index, row, first column and length.
    wanted: int64 [n, 5], each a prediction: row, column, token to predict, prompt, continuation.
    """

    tokens: np.ndarray
    positions: np.ndarray
    owner: np.ndarray
    branch: np.ndarray
    trunks: list[tuple[int, int, int, int]]
    wanted: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """Which places hold a token: bool [rows, width]."""
        return self.branch != PADDING

    @property
    def order(self) -> np.ndarray:
        """Number of each place's token when rows stand one behind the other without padding: int64 [rows, width].

        Padding has the number of the token before it.
        """
        return self.real.ravel().cumsum().reshape(self.real.shape) - 1

    def visible(self) -> np.ndarray:
        """Which own-row tokens each token sees: bool [rows, width, width]."""
        same = self.owner[:, :, None] == self.owner[:, None, :]
        branch = (self.branch[:, None, :] == TRUNK) | (self.branch[:, :, None] == self.branch[:, None, :])
        width = self.tokens.shape[1]
        return same & branch & np.tri(width, dtype=bool)


def shared_length(contexts: Sequence[Sequence[int]]) -> int:
    """Tokens that all contexts begin with, leaving each at least one token of its own."""
    first, last = min(contexts), max(contexts)
    limit = min(len(context) for context in contexts) - 1
    for position in range(limit):
        if first[position] != last[position]:
            return position
    return limit


def pack(prompts: Sequence[Prompt], shared: int, batch_tokens: int, width: int = 64) -> list[Batch]:
    """Lay out prompts, longest first, into rows of `width` tokens or fewer and batches of `batch_tokens` or fewer.

    Padding does not count. The layout is a function of the prompts' lengths alone; a prompt longer than `width` widens
    its batch, and one longer than `batch_tokens` is a batch of its own.
    """
    lengths = [segment_length(prompt, shared) for prompt in prompts]
    waiting = sorted(range(len(prompts)), key=lambda i: (-lengths[i], i))
    batches = []
    while waiting:
        row_width = max(width, lengths[waiting[0]])
        rows: list[list[int]] = []
        room: list[int] = []
        left, budget = [], batch_tokens
        for index in waiting:
            if rows and lengths[index] > budget:
                left.append(index)
                continue
            row = next((r for r, free in enumerate(room) if free >= lengths[index]), len(rows))
            if row == len(rows):
                rows.append([])
                room.append(row_width)
            rows[row].append(index)
            room[row] -= lengths[index]
            budget -= lengths[index]
        batches.append(_lay_out(rows, prompts, shared))
        waiting = left
    return batches


def computed_tokens(prompts: Sequence[Prompt]) -> int:
    """Tokens that a model reads to score prompts which share a prefix, padding left out."""
    shared = shared_length([prompt.context for prompt in prompts])
    return shared + sum(segment_length(prompt, shared) for prompt in prompts)


def predicting_places(prompt: Prompt) -> int:
    """Places of a prompt that predict a token of a continuation: its end, which serves all, and those inside each."""
    return 1 + sum(max(0, len(continuation) - 1) for continuation in prompt.continuations)


def segment_length(prompt: Prompt, shared: int) -> int:
    """Tokens of a prompt's trunk and branches behind `shared` tokens."""
    return len(prompt.context) - shared + sum(max(0, len(c) - 1) for c in prompt.continuations)


def _lay_out(rows: list[list[int]], prompts: Sequence[Prompt], shared: int) -> Batch:
    width = max(sum(segment_length(prompts[i], shared) for i in row) for row in rows)
    tokens = np.zeros((len(rows), width), dtype=np.int64)
    positions = np.full((len(rows), width), shared, dtype=np.int64)
    owner = np.full((len(rows), width), -1, dtype=np.int64)
    branch = np.full((len(rows), width), PADDING, dtype=np.int64)
    trunks, wanted = [], []
    for r, row in enumerate(rows):
        column = 0
        for index in row:
            prompt = prompts[index]
            trunk = prompt.context[shared:]
            trunks.append((index, r, column, len(trunk)))
            last = column + len(trunk) - 1
            pieces = [(TRUNK, trunk, shared)]
            pieces += [(k, c[:-1], len(prompt.context)) for k, c in enumerate(prompt.continuations)]
            for k, piece, position in pieces:
                span = slice(column, column + len(piece))
                tokens[r, span] = piece
                positions[r, span] = np.arange(position, position + len(piece))
                owner[r, span] = index
                branch[r, span] = k
                if k != TRUNK:
                    columns = [last, *range(column, column + len(piece))]
                    target = prompt.continuations[k]
                    wanted += [(r, c, t, index, k) for c, t in zip(columns, target, strict=False)]
                column += len(piece)
    return Batch(tokens, positions, owner, branch, trunks, np.array(wanted, dtype=np.int64).reshape(-1, 5))
