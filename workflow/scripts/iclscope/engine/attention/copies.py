"""Packed prompts in rows, each with a copy of the keys that it needs: attention by the products that PyTorch has.

A model reads the tokens of packed prompts as one sequence, and only attention sees them in rows. Nothing but attention
mixes tokens, so that linear maps need no padding; and its cache holds the shared prefix once instead of once per row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from iclscope.engine.attention.inputs import Mask, attention_input
from iclscope.engine.attention.products import attend_by_products, worth_it
from iclscope.engine.attention.replacing import replaced
from iclscope.engine.attention.rows import RowLayout, Rows
from iclscope.engine.packing import Batch
from iclscope.engine.transfers import sent


@contextmanager
def gathered(model: Any, batch: Batch, layout: RowLayout) -> Iterator[Mask]:
    """While open, `model` takes `batch` as one sequence, with the `attention_mask` that this yields."""
    number = len(batch.tokens)
    keys = np.minimum(layout.keys, batch.cached + number - 1)  # any in padding, which nothing sees
    queries = np.minimum(layout.queries - batch.cached, number - 1)
    place = np.argsort(layout.queries, axis=None)[:number]
    positions = np.concatenate([np.arange(batch.cached), batch.positions])
    to = partial(sent, model.device)
    rows = Rows(to(queries), to(keys), to(place), layout.groups)
    attend = attend_by_products if worth_it(model.dtype, model.device) else attend_in_rows
    with replaced(model, partial(attend, rows)):
        yield attention_input(model, to(layout.visible), to(batch.positions[queries]), to(positions[keys]))


def attend_in_rows(
    rows: Rows,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """As `replaced` wants it, with a mask [rows, 1, width, keys]."""
    if softcap is not None:  # which fused attention knows nothing of
        return attend_by_products(rows, query, key, value, mask, scaling, softcap)
    outputs = [
        _attend_alike(
            _laid_out(query, rows.queries[first:end]),
            _laid_out(key, rows.keys[first:end, -keys:]),
            _laid_out(value, rows.keys[first:end, -keys:]),
            mask[first:end, :, :, -keys:],
            scaling,
        )
        for first, end, keys in rows.groups
    ]
    return torch.cat(outputs).flatten(0, 1).index_select(0, rows.place)[None]


def _attend_alike(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
) -> torch.Tensor:
    """Attention of rows: query [rows, heads, width, d_head] to [rows, width, heads, d_head]."""
    # Query heads that share keys stand one behind the other, which copies no key.
    shape, kv_heads = query.shape, key.shape[1]
    query = query.reshape(shape[0], kv_heads, -1, shape[3])
    mask = mask.repeat(1, 1, shape[1] // kv_heads, 1)
    output = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return output.reshape(*shape[:3], -1).transpose(1, 2)


def _laid_out(x: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """[1, heads, tokens, d_head] to [rows, heads, places, d_head], the `token` [rows, places] in each place."""
    width = x.shape[1] * x.shape[3]
    flat = x[0].transpose(0, 1).reshape(-1, width).index_select(0, token.flatten())
    return flat.view(*token.shape, x.shape[1], x.shape[3]).transpose(1, 2)
