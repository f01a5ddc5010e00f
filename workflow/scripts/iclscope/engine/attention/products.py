"""Attention of rows by two products of matrices and a softmax, as fast as a CPU multiplies.

PyTorch's fused attention on a CPU cuts its products into small ones that reach a third of the speed of oneDNN. Scores
are float32 on a CPU whatever the model's dtype, as they are in fused attention.
"""

from contextlib import nullcontext

import torch

from iclscope.engine.attention.rows import Rows
from iclscope.engine.cpu import LARGE, PACKED, multiplies_exactly, through_onednn

MOST_SCORES = LARGE // 8  # at a time, if a row alone has no more: 32 MB, which a process keeps for the next ones


def worth_it(model_dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this way is exact and faster than fused attention."""
    return device.type == "cpu" and model_dtype in PACKED and multiplies_exactly()


def attend_by_products(
    rows: Rows,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """As `replaced` wants it, with a mask [rows, 1, width, keys]."""
    heads, kv_heads, d_head = query.shape[1], key.shape[1], query.shape[3]
    shared = heads // kv_heads  # query heads that share keys stand one behind the other, which copies no key
    wide = torch.float32 if query.device.type == "cpu" else query.dtype
    query = query[0].transpose(0, 1).reshape(-1, kv_heads, shared * d_head)
    query = query.to(wide) * (d_head**-0.5 if scaling is None else scaling)
    key, value = key[0].to(wide), value[0]
    width, outputs = rows.queries.shape[1], []
    parts = [
        (start, min(start + step, end), keys)
        for first, end, keys in rows.groups
        for step in [max(1, MOST_SCORES // (heads * width * keys))]
        for start in range(first, end, step)
    ]
    with through_onednn() if worth_it(value.dtype, value.device) else nullcontext():
        for first, end, keys in parts:
            asked, seen = rows.queries[first:end], rows.keys[first:end, -keys:].flatten()
            queries = query[asked.flatten()].view(*asked.shape, kv_heads, -1).permute(2, 0, 1, 3)
            batch = kv_heads * len(asked)
            scores = torch.bmm(
                queries.reshape(batch, -1, d_head), key.index_select(1, seen).view(batch, keys, d_head).transpose(1, 2)
            )
            if softcap is not None:
                scores = softcap * torch.tanh(scores / softcap)
            by_head = scores.view(kv_heads, *asked.shape, shared, keys)
            by_head += mask[first:end, 0, :, None, -keys:]
            weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
            output = torch.bmm(weights, value.index_select(1, seen).view(batch, keys, -1))
            outputs.append(output.view(kv_heads, asked.numel(), -1))
    found = torch.cat(outputs, dim=1).index_select(1, rows.place).transpose(0, 1).contiguous()
    return found.view(1, -1, heads, value.shape[-1])
