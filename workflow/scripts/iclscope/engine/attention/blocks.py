"""Packed prompts as they stand, of which attention computes only those blocks of queries and keys that see each other.

Tokens stand in preorder, so that a token is seen by those between it and its end: two numbers a token say all, and
the pairs of a batch gather in few blocks, near the diagonal and behind the shared prefix. PyTorch's FlexAttention makes
a kernel of it, which copies no keys; it is compiled when first used, in some ten seconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from iclscope.engine.attention.inputs import Reach, by_kind, reaches
from iclscope.engine.attention.replaced import replaced
from iclscope.engine.packing import Batch
from iclscope.engine.transfers import sent

SIDE = 128  # queries, and keys, of a block: what FlexAttention's kernels are made for


@dataclass(frozen=True)
class BlockLayout:
    """The blocks of a batch, whose tokens have numbers, those in the cache first.

    end: int64 [cached + tokens], the number behind the last token that sees each. some, every: bool [query blocks, key
    blocks], those in which any token sees another, and of them those in which every token sees all.
    """

    end: np.ndarray
    some: np.ndarray
    every: np.ndarray


def lay_in_blocks(batch: Batch) -> BlockLayout:
    """Find the blocks that attention has to compute."""
    number = batch.cached + len(batch.tokens)
    end = np.concatenate([np.full(batch.cached, number), batch.cached + batch.end])
    first, start = np.arange(batch.cached, number, SIDE)[:, None], np.arange(0, number, SIDE)
    last, stop = (np.minimum(begin + SIDE, number) - 1 for begin in (first, start))
    some = (start <= last) & (np.maximum.reduceat(end, start) > first)
    every = (stop <= first) & (np.minimum.reduceat(end, start) > last)
    return BlockLayout(end, some, every)


@contextmanager
def in_blocks(model: Any, batch: Batch, layout: BlockLayout) -> Iterator[BlockMask | dict[str, BlockMask]]:
    """While open, `model` takes `batch` as one sequence, with the `attention_mask` that this yields."""
    to = partial(sent, model.device)
    number = len(layout.end)
    queries, end = to(np.arange(batch.cached, number)), to(layout.end)
    positions = to(np.concatenate([np.arange(batch.cached), batch.positions]))
    partly, wholly, some = (_listed(to, blocks) for blocks in (layout.some & ~layout.every, layout.every, layout.some))
    masks = {}
    for kind, reach in reaches(model).items():
        # A window or a chunk may hide a part of what is seen as a whole without it.
        (count, places), (full, full_places) = (some, (None, None)) if any(reach) else (partly, wholly)
        sees, lengths = _seen(queries, end, positions, reach), (len(batch.tokens), number)
        masks[kind] = BlockMask.from_kv_blocks(count, places, full, full_places, SIDE, sees, lengths)
    with replaced(model, _attend):
        yield by_kind(masks)


def _listed(to: Callable[[np.ndarray], torch.Tensor], blocks: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """For each block of queries the number of its key blocks, and their places first: int32 [1, 1, …]."""
    places = np.argsort(~blocks, axis=1, kind="stable")
    return to(blocks.sum(axis=1, dtype=np.int32))[None, None], to(places.astype(np.int32))[None, None]


def _seen(queries: torch.Tensor, end: torch.Tensor, positions: torch.Tensor, reach: Reach) -> Callable[..., Any]:
    def sees(_batch: Any, _head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        number = queries[query]
        allowed = (key <= number) & (number < end[key])
        return reach.within(allowed, positions[number], positions[key])

    return sees


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: BlockMask,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """As `replaced` wants it."""
    attend = _kernel(query.device.type)
    capped = None if softcap is None else _capped(softcap)
    output = attend(query, key, value, score_mod=capped, block_mask=mask, scale=scaling, enable_gqa=True)
    return output.transpose(1, 2)


def _capped(softcap: float) -> Callable[..., torch.Tensor]:
    def cap(score: torch.Tensor, _batch: Any, _head: Any, _query: Any, _key: Any) -> torch.Tensor:
        return softcap * torch.tanh(score / softcap)

    return cap


@cache
def _kernel(device: str) -> Callable[..., Any]:
    """FlexAttention, compiled for any number of tokens; on a CPU, where it serves to compare, as it is."""
    return torch.compile(flex_attention, dynamic=True) if device == "cuda" else flex_attention  # type: ignore[return-value]
