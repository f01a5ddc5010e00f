"""Demonstrations in batches through a model under an explicit mask, reduced at every site while it runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from iclscope.activations.masks import MaskFunction, Segments, padded
from iclscope.activations.sites import Block, decoder_of, reading
from iclscope.engine import models
from iclscope.engine.attention.inputs import attention_input
from iclscope.engine.prompts import DemonstrationTokens, encode_demonstration
from iclscope.engine.rotary import forget
from iclscope.runtime.errors import StudyError

T = TypeVar("T")

MAX_PADDING = 0.1  # share of a batch: the time that a forward pass may waste


@dataclass(frozen=True)
class Demonstration:
    """A candidate's (or item's) id and tokens."""

    id: int
    tokens: DemonstrationTokens


def batches(
    demonstrations: Sequence[Demonstration], batch_tokens: int, alike: Callable[[int], int] = lambda length: 0
) -> list[list[Demonstration]]:
    """Group demonstrations of similar length, longest first.

    A batch has at most `batch_tokens` tokens, of which at most MAX_PADDING are padding, or one demonstration; and only
    lengths of which `alike` says the same.
    """
    groups: list[list[Demonstration]] = []
    tokens = 0
    for one in sorted(demonstrations, key=lambda one: (-len(one.tokens.ids), one.id)):
        length = len(one.tokens.ids)
        size = (len(groups[-1]) + 1) * len(groups[-1][0].tokens.ids) if groups else 0
        fits = bool(groups) and size <= batch_tokens and tokens + length >= (1 - MAX_PADDING) * size
        if fits and alike(length) == alike(len(groups[-1][0].tokens.ids)):
            groups[-1].append(one)
            tokens += length
        else:
            groups.append([one])
            tokens = length
    return groups


def longest(texts: Iterable[DemonstrationTokens]) -> int:
    """Tokens of the longest text, 0 without any."""
    return max((len(tokens.ids) for tokens in texts), default=0)


def model_input(model: Any, batch: Sequence[DemonstrationTokens], mask: MaskFunction | None) -> dict[str, Any]:
    """Arguments of a forward pass over `batch` [rows, longest], padded on the right, under an explicit mask.

    mask: None is the model's own causal attention. The rows must be alike by `rotary.length_class`.
    """
    forget(model)
    longest = max(len(tokens.ids) for tokens in batch)
    ids = torch.tensor([[*tokens.ids, *[0] * (longest - len(tokens.ids))] for tokens in batch], device=model.device)
    if mask is None:
        lengths = torch.tensor([[len(tokens.ids)] for tokens in batch], device=model.device)
        own = (torch.arange(longest, device=model.device) < lengths).long()
        return {"input_ids": ids, "attention_mask": own, "use_cache": False}
    allowed = torch.from_numpy(padded(mask, [Segments.of(tokens) for tokens in batch])).to(model.device)
    positions = torch.arange(longest, device=model.device).expand(len(batch), longest)
    return {
        "input_ids": ids,
        "attention_mask": attention_input(model, allowed, positions, positions),
        "position_ids": positions,
        "use_cache": False,
    }


def read_batch(
    model: Any,
    blocks: Sequence[Block],
    sites: Sequence[str],
    batch: Sequence[Demonstration],
    mask: MaskFunction | None,
    reduce: Callable[[torch.Tensor], T],
) -> dict[tuple[str, int], T]:
    """What `reduce` makes of the activation [rows, tokens, d] at every site and block, in one forward pass."""
    found: dict[tuple[str, int], T] = {}

    def receive(site: str, layer: int, x: torch.Tensor) -> None:
        found[site, layer] = reduce(x)

    inputs = model_input(model, [one.tokens for one in batch], mask)
    with torch.inference_mode(), reading(blocks, sites, receive):
        decoder_of(model)(**inputs)
    return found


def tokenise(
    rows: Iterable[Mapping[str, Any]],
    model: Any,
    tokenizer: Any,
    encode: Callable[[Any, Mapping[str, Any]], DemonstrationTokens] = encode_demonstration,
) -> list[Demonstration]:
    """Rows of a sample table as tokens, `encode` of each; refuses one that is longer than the model's context."""
    limit = models.context_length(model)
    demonstrations = [Demonstration(row["id"], encode(tokenizer, row)) for row in rows]
    for one in demonstrations:
        if len(one.tokens.ids) > limit:
            raise StudyError(
                f"candidate {one.id} has {len(one.tokens.ids)} tokens, more than the {limit} of the model; "
                "set a lower max_tokens for this data set"
            )
    return demonstrations
