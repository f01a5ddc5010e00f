"""Log probabilities of answers after a demonstration: exact as in the evaluation harness, no token computed twice.

The demonstration is encoded once and its keys and values are shared by all items; an item's question is encoded once
and its choices branch off it. Whole prompts are tokenised, and the shared prefix is what their tokens really share.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache

from iclscope.engine.attention.choice import LayOut, Layout, attending, lay_out_for
from iclscope.engine.packing import Batch, pack, shared_length
from iclscope.engine.prompts import Prompt
from iclscope.engine.rotary import apart, forget
from iclscope.engine.transfers import Arriving, sent
from iclscope.runtime.prefetch import ahead

LOGSUMEXP_ROWS = {"cpu": 16}  # whose temporary copies stay in a processor's cache; a GPU waits for each call instead
MANY_ROWS = 512  # of a vocabulary of 262,144: half a gigabyte

KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Pass:
    """What a model gave for a batch.

    logprobs: of every wanted token, in nats, float64 [wanted], on their way from the device. logits: float32
    [predicting tokens, vocabulary]. ends: int64 [prompts], the logits behind each prompt of `batch.last`. cache: keys
    and values of the shared prefix and, behind them or with them, of the batch's tokens.
    """

    logprobs: Arriving
    logits: torch.Tensor
    ends: torch.Tensor
    cache: DynamicCache


def score(model: Any, prompts: Sequence[Prompt], batch_tokens: int) -> list[np.ndarray]:
    """Log probability in nats of every continuation of every prompt: float32 arrays [continuations], prompts' order."""
    return score_groups(model, [prompts], batch_tokens)[0]


def score_groups(model: Any, groups: Sequence[Sequence[Prompt]], batch_tokens: int) -> list[list[np.ndarray]]:
    """As `score`, of groups of prompts that share a prefix each; while one is computed, the next is laid out.

    Groups that fit into a batch together are read at once: a pass of few tokens keeps a GPU waiting for its orders.
    """
    found = chain.from_iterable(_score_each(model, list(_joined(groups, batch_tokens)), batch_tokens))
    return [list(islice(found, len(group))) for group in groups]


def _joined(groups: Sequence[Sequence[Prompt]], batch_tokens: int) -> Iterator[list[Prompt]]:
    """Yield the prompts of neighbouring groups in one, as far as they fit into one batch."""
    joined: list[Prompt] = []
    room = batch_tokens
    for group in groups:
        need = _most_tokens(group)
        if joined and need > room:
            yield joined
            joined, room = [], batch_tokens
        joined += group
        room -= need
    yield joined


def _most_tokens(prompts: Sequence[Prompt]) -> int:
    """Tokens of prompts of which no two begin alike behind their prefix."""
    shared = shared_length([prompt.context for prompt in prompts])
    return shared + sum(len(prompt.context) - shared + sum(map(len, prompt.continuations)) for prompt in prompts)


def _score_each(model: Any, groups: Sequence[Sequence[Prompt]], batch_tokens: int) -> list[list[np.ndarray]]:
    scores = [[np.zeros(len(prompt.continuations), dtype=np.float32) for prompt in group] for group in groups]
    parts = [(scores[g], group, members) for g, group in enumerate(groups) for members in alike(model, group)]
    prompts = [
        [Prompt(group[i].context, [group[i].continuations[k] for k in chosen]) for i, chosen in members]
        for _, group, members in parts
    ]
    sums = [[np.zeros(len(prompt.continuations), dtype=np.float64) for prompt in part] for part in prompts]
    waiting: list[tuple[list[np.ndarray], Batch, Arriving]] = []
    for part, batch, done in forward_all(model, prompts, batch_tokens):
        while waiting:  # what a GPU was asked for before; by now it has its next work
            add_up(*waiting.pop())
        waiting.append((sums[part], batch, done.logprobs))
        del done  # or its logits and cache would take memory beside those of the next batch
    while waiting:
        add_up(*waiting.pop())
    for (mine, _, members), found in zip(parts, sums, strict=True):
        for (i, chosen), values in zip(members, found, strict=True):
            mine[i][chosen] = values
    return scores


def alike(model: Any, prompts: Sequence[Prompt]) -> Iterator[list[tuple[int, list[int]]]]:
    """Yield prompts that may share forward passes, all of them for most models: index, and which continuations."""
    requests = [(i, k) for i, prompt in enumerate(prompts) for k in range(len(prompt.continuations))]
    lengths = [len(prompts[i].context) + len(prompts[i].continuations[k]) - 1 for i, k in requests]
    for places in apart(model, lengths):
        members = groupby((requests[place] for place in places), key=itemgetter(0))
        yield [(i, [k for _, k in group]) for i, group in members]


def add_up(sums: list[np.ndarray], batch: Batch, logprobs: Arriving) -> None:
    """Add each predicted token's log probability to its prompt's and continuation's sum, in the order of the tokens."""
    of = batch.wanted[:, 2:]
    begins = np.ones(len(of), dtype=bool)
    begins[1:] = (of[1:] != of[:-1]).any(axis=1)
    totals = np.bincount(np.cumsum(begins) - 1, weights=logprobs.numpy())
    for (prompt, continuation), total in zip(of[begins].tolist(), totals.tolist(), strict=True):
        sums[prompt][continuation] += total


def forward_all(
    model: Any, groups: Sequence[Sequence[Prompt]], batch_tokens: int, by_length: bool = False
) -> Iterator[tuple[int, Batch, Pass]]:
    """Read all prompts, group by group, and each batch by batch in the order of `packing.pack`.

    groups: prompts that share a prefix, and that `rotary` lets share a pass. Yields the place of the group too.
    """
    current = -1
    prefix: KeysValues = []
    lay_out = lay_out_for(model, partial(_first, model, groups[:1], batch_tokens, by_length))
    for group, batch, layout in ahead(_layouts(groups, batch_tokens, by_length, lay_out)):
        if group != current:
            forget(model)
            current, prefix = group, []
        done = _forward(model, prefix, batch, layout)
        if batch.shared and not prefix:
            prefix = [
                (keys[:, :, : batch.shared].clone(), values[:, :, : batch.shared].clone())
                for keys, values in map(keys_values, done.cache.layers)
            ]
        yield group, batch, done
        del done


def _first(
    model: Any, groups: Sequence[Sequence[Prompt]], batch_tokens: int, by_length: bool, lay_out: LayOut
) -> np.ndarray:
    """Log probabilities in nats of what the first batch predicts."""
    _, batch, layout = next(_layouts(groups, batch_tokens, by_length, lay_out))
    return _forward(model, [], batch, layout).logprobs.numpy()


def _layouts(
    groups: Sequence[Sequence[Prompt]], batch_tokens: int, by_length: bool, lay_out: LayOut
) -> Iterator[tuple[int, Batch, Layout]]:
    for group, prompts in enumerate(groups):
        shared = shared_length([prompt.context for prompt in prompts])
        for batch in pack(prompts, shared, batch_tokens, by_length):
            yield group, batch, lay_out(batch)


def keys_values(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values [1, heads, tokens, width] of a layer of a cache, once it has read; linear attention has none."""
    return layer.keys, layer.values


def _forward(model: Any, prefix: KeysValues, batch: Batch, layout: Layout) -> Pass:
    predicting = batch.predicting
    cache = DynamicCache(prefix)
    to = partial(sent, model.device)
    with attending(model, batch, layout) as mask, _last_mlp_at(model, to(predicting)):
        logits = logits_at(
            model,
            np.stack([np.zeros_like(predicting), predicting], axis=1),
            input_ids=to(batch.tokens)[None],
            attention_mask=mask,
            position_ids=to(batch.positions)[None],
            past_key_values=cache,
            use_cache=True,
        )
    asked = to(np.searchsorted(predicting, batch.wanted[:, 0]))
    ends = to(np.searchsorted(predicting, list(batch.last.values())))
    return Pass(logprobs_of(logits, asked, to(batch.wanted[:, 1])), logits, ends, cache)


@contextmanager
def _last_mlp_at(model: Any, places: torch.Tensor) -> Iterator[None]:
    """While open, the last block's MLP reads only the tokens at `places` [n].

    What it adds to others reaches no key, no value and no prediction. With 30 blocks this saves 2 % of all products.
    """
    lists = (part for part in model.modules() if isinstance(part, nn.ModuleList))
    blocks = next((found for found in lists if len(found) == model.config.get_text_config().num_hidden_layers), [None])
    if (mlp := getattr(blocks[-1], "mlp", None)) is None:
        yield
        return
    length = 0

    def select(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        nonlocal length
        length = arguments[0].shape[1]
        return (arguments[0][:, places], *arguments[1:])

    def spread(_: Any, __: Any, added: torch.Tensor) -> torch.Tensor:
        return added.new_zeros(1, length, added.shape[2]).index_copy_(1, places, added)

    handles = mlp.register_forward_pre_hook(select), mlp.register_forward_hook(spread)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def logprobs_of(logits: torch.Tensor, place: torch.Tensor, token: torch.Tensor) -> Arriving:
    """Log probability in nats, float64 [n], of each `token` [n]; `place` [n] is its row of `logits` [places, V]."""
    rows = LOGSUMEXP_ROWS.get(logits.device.type, MANY_ROWS)
    total = torch.cat([part.logsumexp(dim=1) for part in logits.split(rows)])
    return Arriving(logits[place, token] - total[place])


def logits_at(model: Any, places: np.ndarray, **inputs: Any) -> torch.Tensor:
    """Logits at the given places (row, column) only: float32 [places, vocabulary].

    A vocabulary is large and few positions predict a token of an answer, so the hidden states are selected before the
    language-model head. A hook does it, so that whatever a model does to its logits (scaling, soft caps) still applies.
    """
    rows, columns = sent(model.device, places.T)

    def select(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (arguments[0][rows, columns][None], *arguments[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        return model(**inputs).logits[0].float()
    finally:
        handle.remove()
