"""Explicit attention masks in the form that transformers models take."""

from typing import Any

import torch

KINDS = {"full_attention", "sliding_attention", "chunked_attention"}


def attention_input(
    model: Any, allowed: torch.Tensor, query_positions: torch.Tensor, key_positions: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Turn a matrix of allowed pairs into the `attention_mask` argument of `model`.

    allowed: bool [batch, queries, keys]. positions: int [batch, queries] and [batch, keys], which decide what a
    sliding window still sees, as far ahead as back, or a chunk. Returns an additive mask [batch, 1, queries, keys] in
    the model's dtype or, for models that mix kinds of layers, one mask per kind. Raises NotImplementedError for layers
    that know of no such pairs, such as recurrent ones.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    chunk = getattr(config, "attention_chunk_size", None)
    one = "sliding_attention" if window else "chunked_attention" if chunk else "full_attention"
    kinds = set(getattr(config, "layer_types", None) or [one])
    if unknown := kinds - KINDS:
        raise NotImplementedError(f"layers of kind {', '.join(sorted(unknown))}")
    queries, keys = query_positions[:, :, None], key_positions[:, None, :]
    masks = {"full_attention": _additive(allowed, model.dtype)}
    if window:
        masks["sliding_attention"] = _additive(allowed & ((queries - keys).abs() < window), model.dtype)
    if chunk:
        masks["chunked_attention"] = _additive(allowed & (queries // chunk == keys // chunk), model.dtype)
    return masks[kinds.pop()] if len(kinds) == 1 else {kind: masks[kind] for kind in kinds}


def _additive(allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
