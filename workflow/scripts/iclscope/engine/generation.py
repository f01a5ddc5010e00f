"""Greedy generation for many prompts: prefixes shared, rows leave when finished and new ones take their place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from iclscope.engine.attention.inputs import attention_input
from iclscope.engine.prompts import Prompt
from iclscope.engine.scoring import add_up, forward_all, keys_values

TOKENS_PER_SLOT = 8  # of a packed batch: a decoding step feeds one token per slot, and reads all weights for it
MOST_SLOTS = 256  # beyond which weights are no longer what a step waits for, and caches are large
CONTEXT_TOKENS = 4  # decoded before a stop sequence, since a tokenizer may strip what a text begins with


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


class NotFiniteError(ArithmeticError):
    """Logits that are infinite or undefined, at `prompt` of `group` (indices)."""

    def __init__(self, group: int, prompt: int) -> None:
        super().__init__(f"logits of prompt {prompt} of group {group} are not finite")
        self.group, self.prompt = group, prompt


class _SlotLayer(DynamicLayer):
    """Keys and values of one layer, a slot per running answer, each slot filled to its own length."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.places: tuple[torch.Tensor, torch.Tensor] | None = None  # slot and column of each new token
        self.longest = 0

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Write the new token of each running slot behind its earlier ones."""
        assert self.places is not None
        slots, columns = self.places
        self.keys[slots, :, columns] = key_states[:, :, 0]
        self.values[slots, :, columns] = value_states[:, :, 0]
        return self.keys[: len(slots), :, : self.longest], self.values[: len(slots), :, : self.longest]


@dataclass(frozen=True)
class _Arrival:
    """A prompt that was encoded: the columns of a packed batch's cache that hold it, and its first token."""

    answer: Answer
    cache: DynamicCache
    columns: np.ndarray
    token: int


class _Slots:
    """The running answers: their cache, lengths and last tokens; the first `len(self.running)` slots are in use."""

    def __init__(self, model: Any, capacity: int, columns: int) -> None:
        self._model = model
        self._capacity = capacity
        self._columns = columns
        self._layers: list[_SlotLayer] = []
        self.running: list[Answer] = []
        self._lengths = np.zeros(capacity, dtype=np.int64)
        self._last = np.zeros(capacity, dtype=np.int64)

    @property
    def free(self) -> int:
        return self._capacity - len(self.running)

    def enter(self, arrivals: Sequence[_Arrival]) -> None:
        """Give each of the arrivals, which come from one packed batch, a slot."""
        start, end = len(self.running), len(self.running) + len(arrivals)
        lengths = [len(arrival.columns) for arrival in arrivals]
        # What stands behind the end of a shorter prompt is never looked at, and overwritten by its answer.
        columns = np.stack([np.resize(arrival.columns, max(lengths)) for arrival in arrivals])
        place = torch.from_numpy(columns).to(self._model.device)
        read = [keys_values(layer) for layer in arrivals[0].cache.layers]
        if not self._layers:
            self._layers = [_SlotLayer(self._blank(keys), self._blank(values)) for keys, values in read]
        for mine, (keys, values) in zip(self._layers, read, strict=True):
            mine.keys[start:end, :, : max(lengths)] = keys[0][:, place].transpose(0, 1)
            mine.values[start:end, :, : max(lengths)] = values[0][:, place].transpose(0, 1)
        self._lengths[start:end] = lengths
        self._last[start:end] = [arrival.token for arrival in arrivals]
        self.running += [arrival.answer for arrival in arrivals]

    def _blank(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros(self._capacity, like.shape[1], self._columns, like.shape[3])

    def step(self) -> tuple[list[int], list[bool]]:
        """Feed the last token of every running answer; its most likely next one, and whether logits were finite."""
        running, device = len(self.running), self._model.device
        lengths = torch.from_numpy(self._lengths[:running]).to(device)
        longest = int(self._lengths[:running].max()) + 1
        for layer in self._layers:
            layer.places, layer.longest = (torch.arange(running, device=device), lengths), longest
        columns = torch.arange(longest, device=device).expand(running, longest)
        logits = self._model(
            input_ids=torch.from_numpy(self._last[:running, None]).to(device),
            attention_mask=attention_input(
                self._model, columns[:, None, :] <= lengths[:, None, None], lengths[:, None], columns
            ),
            position_ids=lengths[:, None],
            past_key_values=_cache_of(self._layers),
            use_cache=True,
        ).logits[:, 0]
        highest, best = logits.max(dim=-1)
        self._lengths[:running] += 1
        self._last[:running] = best.cpu().numpy()
        return self._last[:running].tolist(), highest.isfinite().tolist()

    def leave(self, finished: Sequence[int]) -> None:
        """Free the slots of finished answers; the last running answer moves into each freed slot."""
        for slot in sorted(finished, reverse=True):
            end = len(self.running) - 1
            if slot != end:
                length = int(self._lengths[end])
                for layer in self._layers:
                    layer.keys[slot, :, :length] = layer.keys[end, :, :length]
                    layer.values[slot, :, :length] = layer.values[end, :, :length]
                self._lengths[slot], self._last[slot] = self._lengths[end], self._last[end]
                self.running[slot] = self.running[end]
            self.running.pop()


def _cache_of(layers: Sequence[_SlotLayer]) -> DynamicCache:
    cache = DynamicCache()
    cache.layers = list(layers)
    return cache


def slots_of(batch_tokens: int) -> int:
    """Answers that are generated at a time."""
    return min(MOST_SLOTS, max(1, batch_tokens // TOKENS_PER_SLOT))


def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    groups: Sequence[Sequence[Prompt]],
    batch_tokens: int,
    stopping: Stopping,
    advance: Callable[[int], Any] = lambda finished: None,
) -> list[list[Answer]]:
    """Answer every prompt greedily and score its continuations.

    groups: prompts that share a prefix (one demonstration) stand together. batch_tokens: tokens of a packed batch of
    prompts; a share of it answers at a time. Whenever a slot is free, prompts of the next packed batch enter it;
    `advance` is told how many answers have ended. Returns the groups' answers in order; raises NotFiniteError.
    """
    columns = max(len(p.context) for group in groups for p in group) + stopping.max_new_tokens
    answers = [[Answer(np.zeros(0)) for _ in group] for group in groups]
    ended = Ending(tokenizer, stopping)
    entering = _prefilled(model, groups, answers, batch_tokens, ended, advance)
    pool = _Slots(model, slots_of(batch_tokens), columns)
    arrivals: list[_Arrival] = []
    while True:
        while pool.free and (arrivals or (arrivals := next(entering, []))):
            count = pool.free
            pool.enter(arrivals[:count])
            arrivals = arrivals[count:]
        if not pool.running:
            return answers
        for answer, token, finite in zip(pool.running, *pool.step(), strict=True):
            if not finite:
                raise _not_finite(answers, answer)
            answer.tokens.append(token)
        finished = ended(pool.running)
        pool.leave(finished)
        advance(len(finished))


def _not_finite(answers: Sequence[Sequence[Answer]], bad: Answer) -> NotFiniteError:
    return next(
        NotFiniteError(group, prompt)
        for group, mine in enumerate(answers)
        for prompt, answer in enumerate(mine)
        if answer is bad
    )


class Ending:
    """Decides which answers have ended, and gives those their final text as the harness cuts it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stopping: Stopping) -> None:
        self._tokenizer = tokenizer
        self._limit = stopping.max_new_tokens
        self._end = tokenizer.eos_token_id
        self._stops = [s for s in (*stopping.sequences, tokenizer.eos_token) if s]
        # A stop sequence that the newest token completes lies in the last tokens, each of which is a byte at least.
        self._window = max((len(stop.encode()) for stop in self._stops), default=0) + CONTEXT_TOKENS

    def __call__(self, answers: Sequence[Answer]) -> list[int]:
        """Which of the answers have just ended, by index; to be asked after every token."""
        tails = self._decode([answer.tokens[-self._window :] for answer in answers])
        finished = []
        for index, (answer, tail) in enumerate(zip(answers, tails, strict=True)):
            over = answer.tokens[-1] == self._end or len(answer.tokens) >= self._limit
            if over or self._stopped(tail):
                (text,) = self._decode([answer.tokens])
                if over or self._stopped(text):
                    for stop in self._stops:
                        text = text.split(stop)[0]
                    answer.text = text
                    finished.append(index)
        return finished

    def _decode(self, tokens: list[list[int]]) -> list[str]:
        return self._tokenizer.batch_decode(tokens, skip_special_tokens=True)

    def _stopped(self, text: str) -> bool:
        return any(stop in text for stop in self._stops)


def _prefilled(
    model: Any,
    groups: Sequence[Sequence[Prompt]],
    answers: list[list[Answer]],
    batch_tokens: int,
    ended: Ending,
    advance: Callable[[int], Any],
) -> Iterator[list[_Arrival]]:
    """Encode the prompts batch by batch, take the first token of each answer and yield those that go on, never none."""
    sums = [[np.zeros(len(prompt.continuations)) for prompt in prompts] for prompts in groups]
    for group, batch, done in forward_all(model, groups, batch_tokens, by_length=True):
        mine = answers[group]
        add_up(sums[group], batch, done.logprobs)
        arrivals, best = [], done.logits.argmax(dim=-1)[done.ends]
        for (index, last), token in zip(batch.last.items(), best.tolist(), strict=True):
            mine[index].logprobs = sums[group][index].astype(np.float32)
            mine[index].tokens.append(token)
            columns = np.concatenate([np.arange(batch.cached), batch.cached + batch.seen(last)])
            arrivals.append(_Arrival(mine[index], done.cache, columns, token))
        over = set(ended([arrival.answer for arrival in arrivals]))
        advance(len(over))
        if running := [arrival for place, arrival in enumerate(arrivals) if place not in over]:
            yield running
