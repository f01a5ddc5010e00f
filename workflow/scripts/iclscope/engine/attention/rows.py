"""The rows in which attention sees a batch of prompts: what stands in each, and what it may see.

Attention computes every token of a row with every key of the row, so that rows are short: a prompt that is longer than
a row takes several, and each row has only those keys that its tokens see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, starmap

import numpy as np
import torch

from iclscope.engine.packing import Batch

WIDTH = 32  # tokens of a row: wider ones compute more of what is hidden, narrower ones copy more keys
MOST_ROWS = 8  # that a whole prompt would take, prefix included: each has a copy of all keys before it
STEP = 64  # rows whose numbers of keys lie between the same multiples of it are computed together


@dataclass(frozen=True)
class RowLayout:
    """Rows of a batch. Tokens have numbers, those in the cache first; the number behind them all means padding.

    queries: int64 [rows, width]. keys: int64 [rows, places], what each row may see, behind padding. visible: bool
    [rows, width, places]. groups: rows of similar need: first row, end, and how many places from the right they need.
    """

    queries: np.ndarray
    keys: np.ndarray
    visible: np.ndarray
    groups: list[tuple[int, int, int]]


def lay_in_rows(batch: Batch, width: int = WIDTH) -> RowLayout:
    """Lay out a batch in rows of `width` tokens, or more where prompts are long."""
    width = max(width, int(batch.positions.max()) // MOST_ROWS)
    rows = _rows_of([piece for first, end in batch.spans for piece in _pieces(first, end, width)], width)
    own = [np.concatenate([np.arange(*piece) for piece in row]) for row in rows]
    # A piece sees of what precedes it in the batch what its first token sees.
    before = _before(batch, sorted(first for row in rows for first, _ in row))
    outside = [sorted({t for first, _ in row for t in before[first]}.difference(*starmap(range, row))) for row in rows]
    order = sorted(range(len(rows)), key=lambda row: len(outside[row]))

    cached, nothing = batch.cached, batch.cached + len(batch.tokens)
    queries = np.full((len(rows), max(map(len, own))), nothing)
    needs = [cached + len(outside[row]) + queries.shape[1] for row in order]
    keys = np.full((len(rows), needs[-1]), nothing)
    for place, row in enumerate(order):
        queries[place, : len(own[row])] = own[row] + cached
        seen = [np.arange(cached), np.array(outside[row], dtype=np.int64) + cached, queries[place]]
        keys[place, -needs[place] :] = np.concatenate(seen)
    end = np.concatenate([np.full(cached, nothing + 1), cached + batch.end, [0]])[keys]
    visible = (keys[:, None, :] <= queries[:, :, None]) & (queries[:, :, None] < end[:, None, :])
    alike = [list(group) for _, group in groupby(range(len(rows)), key=lambda place: -(-needs[place] // STEP))]
    return RowLayout(queries, keys, visible, [(group[0], group[-1] + 1, needs[group[-1]]) for group in alike])


def _before(batch: Batch, tokens: Sequence[int]) -> dict[int, list[int]]:
    """What each of some tokens, in rising order, sees of the batch before it.

    Preorder: of each depth above its own, a token sees the last one before it.
    """
    depth = batch.positions - batch.cached
    path = np.zeros(int(depth.max()) + 1, dtype=np.int64)
    seen, done = {}, 0
    for token in tokens:
        path[depth[done:token]] = np.arange(done, token)
        seen[token], done = path[: depth[token]].tolist(), token
    return seen


def _pieces(first: int, end: int, width: int) -> list[tuple[int, int]]:
    """A span cut from its end, so that the piece which sees least is the one that leaves room in its row."""
    return [(max(first, stop - width), stop) for stop in range(end, first, -width)]


def _rows_of(pieces: Sequence[tuple[int, int]], width: int) -> list[list[tuple[int, int]]]:
    """Pieces, longest first, each in the first row that has room for it."""
    rows: list[list[tuple[int, int]]] = []
    room: list[int] = []
    for first, end in sorted(pieces, key=lambda piece: piece[0] - piece[1]):
        row = next((r for r, free in enumerate(room) if free >= end - first), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(width)
        rows[row].append((first, end))
        room[row] -= end - first
    return rows


@dataclass(frozen=True)
class Rows:
    """How attention lays a sequence out in rows, each with places for what it asks from and for what it sees.

    queries: int64 [rows, width], which of the sequence's tokens stands in each place (any in padding). keys: int64
    [rows, keys], likewise which token of cache and sequence. place: int64 [tokens], where among all places of `queries`
    each token stands. groups: first row, end, and how many of the last keys those rows need.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    place: torch.Tensor
    groups: list[tuple[int, int, int]]
