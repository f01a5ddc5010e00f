"""Greedy generation for many prompts: prefixes shared, rows leave when finished and new ones take their place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from iclscope.attention import attention_input
from iclscope.packing import Prompt, pack, shared_length
from iclscope.scoring import add_up, encode_prefix, forward


@dataclass
class Answer:
    """What one prompt gave: log probabilities of its continuations (nats) and the generated tokens."""

    logprobs: np.ndarray
    tokens: list[int] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class Stopping:
    """When a generated answer ends: a stop sequence, the end-of-text token, or the limit of new tokens."""

    sequences: tuple[str, ...]
    max_new_tokens: int


class _SlotLayer(DynamicLayer):
    """Keys and values of one layer, a slot per running answer, each slot filled to its own length."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.lengths = torch.zeros(0, dtype=torch.long)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Write the new token of each running slot behind its earlier ones."""
        running = len(self.lengths)
        slots = torch.arange(running, device=self.keys.device)
        self.keys[slots, :, self.lengths] = key_states[:, :, 0]
        self.values[slots, :, self.lengths] = value_states[:, :, 0]
        longest = int(self.lengths.max()) + 1
        return self.keys[:running, :, :longest], self.values[:running, :, :longest]


class _Slots:
    """The running answers: their cache, lengths and last tokens; the first `len(self.running)` slots are in use."""

    def __init__(self, model: Any, capacity: int, columns: int) -> None:
        self._model = model
        self._capacity = capacity
        self._columns = columns
        self._layers: list[_SlotLayer] = []
        self.running: list[Answer] = []
        self._lengths = torch.zeros(capacity, dtype=torch.long, device=model.device)
        self._last = torch.zeros(capacity, dtype=torch.long, device=model.device)

    @property
    def free(self) -> int:
        return self._capacity - len(self.running)

    def enter(self, answer: Answer, cache: DynamicCache, row: int, past: torch.Tensor, token: int) -> None:
        """Give `answer` a slot with the cache columns `past` of `row`, about to continue after `token`."""
        slot = len(self.running)
        if not self._layers:
            self._layers = [self._empty(layer.keys, layer.values) for layer in cache.layers]
        for mine, layer in zip(self._layers, cache.layers, strict=True):
            mine.keys[slot, :, : len(past)] = layer.keys[row][:, past]
            mine.values[slot, :, : len(past)] = layer.values[row][:, past]
        self._lengths[slot], self._last[slot] = len(past), token
        self.running.append(answer)

    def _empty(self, keys: torch.Tensor, values: torch.Tensor) -> _SlotLayer:
        def blank(like: torch.Tensor) -> torch.Tensor:
            return like.new_zeros(self._capacity, like.shape[1], self._columns, like.shape[3])

        return _SlotLayer(blank(keys), blank(values))

    def step(self) -> list[int]:
        """Feed the last token of every running answer and return the most likely next one of each."""
        running = len(self.running)
        lengths = self._lengths[:running]
        for layer in self._layers:
            layer.lengths = lengths
        longest = int(lengths.max()) + 1
        columns = torch.arange(longest, device=lengths.device).expand(running, longest)
        logits = self._model(
            input_ids=self._last[:running, None],
            attention_mask=attention_input(
                self._model, columns[:, None, :] <= lengths[:, None, None], lengths[:, None], columns
            ),
            position_ids=lengths[:, None],
            past_key_values=_cache_of(self._layers),
            use_cache=True,
        ).logits[:, 0]
        best = logits.float().argmax(dim=-1)
        self._lengths[:running] += 1
        self._last[:running] = best
        return best.tolist()

    def leave(self, finished: Sequence[int]) -> None:
        """Free the slots of finished answers; the last running answer moves into each freed slot."""
        for slot in sorted(finished, reverse=True):
            end = len(self.running) - 1
            if slot != end:
                for layer in self._layers:
                    layer.keys[slot], layer.values[slot] = layer.keys[end], layer.values[end]
                self._lengths[slot], self._last[slot] = self._lengths[end].clone(), self._last[end].clone()
                self.running[slot] = self.running[end]
            self.running.pop()


def _cache_of(layers: Sequence[_SlotLayer]) -> DynamicCache:
    cache = DynamicCache()
    cache.layers = list(layers)
    return cache


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    groups: Sequence[Sequence[Prompt]],
    stopping: Stopping,
    batch_tokens: int,
    slots: int,
    advance: Callable[[int], Any] = lambda finished: None,
) -> list[list[Answer]]:
    """Answer every prompt greedily and score its continuations.

    groups: prompts that share a prefix (one demonstration) stand together. Whenever a slot is free, prompts of the
    next packed batch enter it; `advance` is told how many answers have ended. Returns the groups' answers in order.
    """
    columns = max(len(p.context) for group in groups for p in group) + stopping.max_new_tokens
    answers = [[Answer(np.zeros(0)) for _ in group] for group in groups]
    entering = _prefilled(model, groups, answers, batch_tokens)
    pool = _Slots(model, slots, columns)
    ended = Ending(tokenizer, stopping)
    exhausted = False
    while not exhausted or pool.running:
        while pool.free and not exhausted:
            if (new := next(entering, None)) is None:
                exhausted = True
                break
            answer, cache, row, past, token = new
            answer.tokens.append(token)
            if ended([answer]):
                advance(1)
            else:
                pool.enter(answer, cache, row, past, token)
        if pool.running:
            for answer, token in zip(pool.running, pool.step(), strict=True):
                answer.tokens.append(token)
            finished = ended(pool.running)
            pool.leave(finished)
            advance(len(finished))
    return answers


class Ending:
    """Decides which answers have ended, and gives those their final text as the harness cuts it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stopping: Stopping) -> None:
        self._tokenizer = tokenizer
        self._limit = stopping.max_new_tokens
        self._end = tokenizer.eos_token_id
        self._stops = [s for s in (*stopping.sequences, tokenizer.eos_token) if s]

    def __call__(self, answers: Sequence[Answer]) -> list[int]:
        """Which of the answers have just ended, by index."""
        texts = self._tokenizer.batch_decode([a.tokens for a in answers], skip_special_tokens=True)
        finished = []
        for index, (answer, text) in enumerate(zip(answers, texts, strict=True)):
            stopped = any(stop in text for stop in self._stops)
            if stopped or answer.tokens[-1] == self._end or len(answer.tokens) >= self._limit:
                for stop in self._stops:
                    text = text.split(stop)[0]
                answer.text = text
                finished.append(index)
        return finished


def _prefilled(
    model: Any, groups: Sequence[Sequence[Prompt]], answers: list[list[Answer]], batch_tokens: int
) -> Iterator[tuple[Answer, DynamicCache, int, torch.Tensor, int]]:
    """Yield each prompt once encoded: its answer, the cache, row and columns that hold it, and its first token."""
    for prompts, mine in zip(groups, answers, strict=True):
        shared = shared_length([prompt.context for prompt in prompts])
        prefix = encode_prefix(model, prompts[0].context[:shared])
        sums = [np.zeros(len(prompt.continuations)) for prompt in prompts]
        for batch in pack(prompts, shared, batch_tokens):
            ends = [(row, column + length - 1) for _, row, column, length in batch.trunks]
            logprobs, (logits, cache) = forward(model, prefix, shared, batch, extra=ends)
            add_up(sums, batch, logprobs)
            first = logits.argmax(dim=-1).tolist()
            for (index, row, column, length), token in zip(batch.trunks, first, strict=True):
                mine[index].logprobs = sums[index].astype(np.float32)
                yield mine[index], cache, row, _past(shared, column, length, model.device), token


def _past(shared: int, column: int, length: int, device: torch.device) -> torch.Tensor:
    """Cache columns of one trunk: the shared prefix, then its own."""
    own = torch.arange(shared + column, shared + column + length, device=device)
    return torch.cat([torch.arange(shared, device=device), own])
