"""Explicit attention masks in the form that transformers models take."""

from typing import Any

import torch


def attention_input(
    model: Any, allowed: torch.Tensor, query_positions: torch.Tensor, key_positions: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Turn a matrix of allowed pairs into the `attention_mask` argument of `model`.

    allowed: bool [batch, queries, keys]. positions: int [batch, queries] and [batch, keys], which decide what a
    sliding window still sees, as far ahead as back. Returns an additive mask [batch, 1, queries, keys] in the model's
    dtype or, for models that mix full and sliding layers, one mask per kind of layer.
    """
    config = model.config.get_text_config()
    full = _additive(allowed, model.dtype)
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if not window:
        return full
    near = (query_positions[:, :, None] - key_positions[:, None, :]).abs() < window
    sliding = _additive(allowed & near, model.dtype)
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    if kinds == {"sliding_attention"}:
        return sliding
    return {"full_attention": full, "sliding_attention": sliding}


def _additive(allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
