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
from iclscope.engine.attention.replacing import replaced
from iclscope.engine.packing import Batch
from iclscope.engine.transfers import sent

SIDE = 128  # queries, and keys, of a block: what FlexAttention's kernels are made for
ALL = np.iinfo(np.int64).max  # the end of a token that every later one sees


@dataclass(frozen=True)
class BlockLayout:
    """The blocks of a batch, whose tokens have numbers, those in the cache first, and then those of padding.

    end: int64 [key places], the number behind the last token that sees each. some, every: bool [query blocks, key
    blocks], those in which any token sees another, and of them those in which every token sees all.
    """

    end: np.ndarray
    some: np.ndarray
    every: np.ndarray


def lay_in_blocks(batch: Batch) -> BlockLayout:
    """Find the blocks that attention has to compute.

    There are two blocks of queries or more, and one of keys more than needed: numbers of one, or of both alike, would
    be a case of its own to a compiler.
    """
    asked = _whole(max(len(batch.tokens), SIDE + 1))
    end = np.zeros(_whole(batch.cached + asked) + SIDE, dtype=np.int64)
    end[: batch.cached] = ALL
    end[batch.cached : batch.cached + len(batch.tokens)] = batch.cached + batch.end
    first, start = batch.cached + np.arange(0, asked, SIDE)[:, None], np.arange(0, len(end), SIDE)
    some = (start < first + SIDE) & (np.maximum.reduceat(end, start) > first)
    every = (start + SIDE <= first + 1) & (np.minimum.reduceat(end, start) >= first + SIDE)
    return BlockLayout(end, some, every)


def _whole(number: int) -> int:
    return -(-number // SIDE) * SIDE


@contextmanager
def in_blocks(model: Any, batch: Batch, layout: BlockLayout) -> Iterator[BlockMask | dict[str, BlockMask]]:
    """While open, `model` takes `batch` as one sequence, with the `attention_mask` that this yields."""
    to = partial(sent, model.device)
    positions = np.zeros(len(layout.end), dtype=np.int64)
    positions[: batch.cached] = np.arange(batch.cached)
    positions[batch.cached : batch.cached + len(batch.tokens)] = batch.positions
    sees = partial(_seen, to(np.array([batch.cached]))[0], to(layout.end), to(positions))
    partly, wholly, some = (_listed(to, blocks) for blocks in (layout.some & ~layout.every, layout.every, layout.some))
    masks = {}
    for kind, reach in reaches(model).items():
        # A window or a chunk may hide a part of what is seen as a whole without it.
        (count, places), (full, full_places) = (some, (None, None)) if any(reach) else (partly, wholly)
        masks[kind] = BlockMask.from_kv_blocks(count, places, full, full_places, SIDE, sees(reach))
    with replaced(model, _attend):
        yield by_kind(masks)


def _listed(to: Callable[[np.ndarray], torch.Tensor], blocks: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """For each block of queries the number of its key blocks, and their places first: int32 [1, 1, …]."""
    places = np.argsort(~blocks, axis=1, kind="stable")
    return to(blocks.sum(axis=1, dtype=np.int32))[None, None], to(places.astype(np.int32))[None, None]


def _seen(first: torch.Tensor, end: torch.Tensor, positions: torch.Tensor, reach: Reach) -> Callable[..., Any]:
    def sees(_batch: Any, _head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        number = first + query
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
    asked, known = mask.shape[-2:]
    output = _kernel(query.device.type)(
        _padded(query, asked),
        _padded(key, known),
        _padded(value, known),
        score_mod=None if softcap is None else _capped(_on(softcap, query.device)),
        block_mask=mask,
        scale=scaling,
        enable_gqa=True,
        kernel_options={"FORCE_USE_FLEX_ATTENTION": True},  # no other kernel for few queries
    )
    return output[:, :, : query.shape[2]].transpose(1, 2)


def _padded(x: torch.Tensor, places: int) -> torch.Tensor:
    return torch.nn.functional.pad(x, (0, 0, 0, places - x.shape[2]))


@cache
def _on(value: float, device: torch.device) -> torch.Tensor:
    return torch.tensor(value, device=device)  # a number would be a case of its own to the compiler


def _capped(softcap: torch.Tensor) -> Callable[..., torch.Tensor]:
    def cap(score: torch.Tensor, _batch: Any, _head: Any, _query: Any, _key: Any) -> torch.Tensor:
        return softcap * torch.tanh(score / softcap)

    return cap


@cache
def _kernel(device: str) -> Callable[..., Any]:
    """FlexAttention, compiled for any number of tokens; on a CPU, where it serves to compare, as it is."""
    return torch.compile(flex_attention, dynamic=True) if device == "cuda" else flex_attention  # type: ignore[return-value]
