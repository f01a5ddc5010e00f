"""Explicit masks in the form that models take."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import torch

T = TypeVar("T")
Mask = torch.Tensor | dict[str, torch.Tensor]


class Reach(NamedTuple):
    """What layers of a kind still see, by positions: window tokens as far ahead as back, or their own chunk."""

    window: int | None = None
    chunk: int | None = None

    def within(self, allowed: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Those `allowed` pairs whose tokens, at positions `queries` and `keys`, also reach each other."""
        if self.window:
            return allowed & ((queries - keys).abs() < self.window)
        if self.chunk:
            return allowed & (queries // self.chunk == keys // self.chunk)
        return allowed


def reaches(model: Any) -> dict[str, Reach]:
    """The reach of each kind of layer that `model` has.

    Raises NotImplementedError for layers that know of no pairs of tokens, such as recurrent ones.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    chunk = getattr(config, "attention_chunk_size", None)
    known = {"full_attention": Reach(), "sliding_attention": Reach(window), "chunked_attention": Reach(None, chunk)}
    one = "sliding_attention" if window else "chunked_attention" if chunk else "full_attention"
    kinds = set(getattr(config, "layer_types", None) or [one])
    if unknown := kinds - set(known):
        raise NotImplementedError(f"layers of kind {', '.join(sorted(unknown))}")
    return {kind: known[kind] for kind in sorted(kinds)}


def by_kind(masks: Mapping[str, T]) -> T | dict[str, T]:
    """One mask per kind of layer as models take them: that of the only kind, or all by name."""
    return next(iter(masks.values())) if len(masks) == 1 else dict(masks)


def attention_input(
    model: Any, allowed: torch.Tensor, query_positions: torch.Tensor, key_positions: torch.Tensor
) -> Mask:
    """Turn a matrix of allowed pairs into the `attention_mask` argument of `model`.

    allowed: bool [batch, queries, keys]. positions: int [batch, queries] and [batch, keys], which decide what a
    sliding window or a chunk still sees. Returns an additive mask [batch, 1, queries, keys] in the model's dtype or,
    for models that mix kinds of layers, one mask per kind. Raises NotImplementedError as `reaches` does.
    """
    queries, keys = query_positions[:, :, None], key_positions[:, None, :]
    found = {kind: reach.within(allowed, queries, keys) for kind, reach in reaches(model).items()}
    return by_kind({kind: _additive(pairs, model.dtype) for kind, pairs in found.items()})


def _additive(allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
