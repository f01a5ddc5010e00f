"""Attention of packed prompts: a model reads their tokens as one sequence, and only attention sees them in rows.

Nothing but attention mixes tokens, so that linear maps need no padding; and the shared prefix stands once in memory
instead of once per row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "iclscope_rows"

KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass
class Rows:
    """How a sequence of tokens is laid out: `token` int64 [rows, width], the token in each place (any in padding);
    `place` int64 [tokens], where each token stands among the rows' places; `prefix`, keys and values per layer
    [1, heads, shared, d_head] of what stands before every row, or none."""

    prefix: KeysValues
    token: torch.Tensor
    place: torch.Tensor
    layers: int = 0  # that have attended in rows so far


_current: list[Rows] = []


@contextmanager
def in_rows(model: Any, rows: Rows) -> Iterator[None]:
    """While open, the `attention_mask` of `model` is [rows, 1, width, shared + width], its tokens are one sequence.

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
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: query [1, heads, tokens, d_head] to [1, tokens, heads, d_head]."""
    if s_aux is not None:
        raise NotImplementedError("attention sinks")
    rows = _current[-1]
    rows.layers += 1
    heads, kv_heads = query.shape[1], key.shape[1]
    query, key, value = (_laid_out(x, rows.token) for x in (query, key, value))
    if rows.prefix:
        before = [x.expand(len(key), -1, -1, -1) for x in rows.prefix[module.layer_idx]]
        key, value = torch.cat([before[0], key], dim=2), torch.cat([before[1], value], dim=2)
    # Query heads that share keys stand one behind the other, which copies no key.
    shape = query.shape
    query = query.reshape(shape[0], kv_heads, -1, shape[3])
    mask = attention_mask.repeat(1, 1, heads // kv_heads, 1)
    if softcap is None:
        output = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    else:
        scores = query @ key.transpose(2, 3) * (shape[3] ** -0.5 if scaling is None else scaling)
        weights = (softcap * torch.tanh(scores / softcap) + mask).softmax(dim=-1, dtype=torch.float32)
        output = weights.to(value.dtype) @ value
    output = output.reshape(*shape[:3], -1).transpose(1, 2).flatten(0, 1)
    return output.index_select(0, rows.place)[None], None


def _laid_out(x: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """[1, heads, tokens, d_head] to [rows, heads, width, d_head]."""
    width = x.shape[1] * x.shape[3]
    flat = x[0].transpose(0, 1).reshape(-1, width).index_select(0, token.flatten())
    return flat.view(*token.shape, x.shape[1], x.shape[3]).transpose(1, 2)


AttentionInterface.register(NAME, _attend)
