"""How attention is steered: explicit masks in the form that models take, and packed prompts in rows.

A model reads the tokens of packed prompts as one sequence, and only attention sees them in rows. Nothing but attention
mixes tokens, so that linear maps need no padding; and its cache holds the shared prefix once instead of once per row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from iclscope.engine.rows import Rows

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


NAME = "iclscope_rows"

_current: list[Rows] = []


@contextmanager
def in_rows(model: Any, rows: Rows) -> Iterator[None]:
    """While open, `model` takes one sequence with an `attention_mask` [rows, 1, width, keys].

    Raises NotImplementedError on leaving if the model does not let its attention be replaced.
    """
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    _current.append(rows)
    try:
        yield
        if not rows.layers:
            raise NotImplementedError(f"{type(model).__name__} does not take attention from outside")
    finally:
        _current.pop()
        model.config._attn_implementation = before


def _attend(
    _module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: query [1, heads, tokens, d_head] to [1, tokens, heads, d_head].

    key, value: [1, heads, cached + tokens, d_head]. options: those that a model may have, by name.
    """
    if options.get("s_aux") is not None:
        raise NotImplementedError("attention sinks")
    rows = _current[-1]
    rows.layers += 1
    outputs = [
        _attend_alike(
            _laid_out(query, rows.queries[first:end]),
            _laid_out(key, rows.keys[first:end, -keys:]),
            _laid_out(value, rows.keys[first:end, -keys:]),
            attention_mask[first:end, :, :, -keys:],
            options.get("scaling"),
            options.get("softcap"),
        )
        for first, end, keys in rows.groups
    ]
    return torch.cat(outputs).flatten(0, 1).index_select(0, rows.place)[None], None


def _attend_alike(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attention of rows: query [rows, heads, width, d_head] to [rows, width, heads, d_head]."""
    # Query heads that share keys stand one behind the other, which copies no key.
    shape, kv_heads = query.shape, key.shape[1]
    query = query.reshape(shape[0], kv_heads, -1, shape[3])
    mask = mask.repeat(1, 1, shape[1] // kv_heads, 1)
    if softcap is None:
        output = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    else:
        scores = query @ key.transpose(2, 3) * (shape[3] ** -0.5 if scaling is None else scaling)
        weights = (softcap * torch.tanh(scores / softcap) + mask).softmax(dim=-1, dtype=torch.float32)
        output = weights.to(value.dtype) @ value
    return output.reshape(*shape[:3], -1).transpose(1, 2)


def _laid_out(x: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """[1, heads, tokens, d_head] to [rows, heads, places, d_head], the `token` [rows, places] in each place."""
    width = x.shape[1] * x.shape[3]
    flat = x[0].transpose(0, 1).reshape(-1, width).index_select(0, token.flatten())
    return flat.view(*token.shape, x.shape[1], x.shape[3]).transpose(1, 2)


AttentionInterface.register(NAME, _attend)
