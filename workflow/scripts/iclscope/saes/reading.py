"""What a sparse autoencoder reads: activations of texts at one site and layer, under the model's own attention.

A forward pass ends behind that layer. Position 0, where causal models park attention, and tokens with a norm above ten
times the median stay out: with them, a dictionary that knows nothing but their direction seems to explain everything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch

from iclscope.activations.proofs import check_parts
from iclscope.activations.reading import Demonstration, batches, model_input
from iclscope.activations.sites import decoder_of, find_blocks, reading
from iclscope.engine.rotary import length_class
from iclscope.runtime.errors import StudyError

BATCH_TOKENS = 1024
CHUNK = 256  # texts that are put into batches by length together; larger ones would sort a stream by length
OUTLIER = 10  # medians of the norm


class Tokens(NamedTuple):
    """Activations x [n, d] of some tokens in float32; text and position [n] say whose they are."""

    text: torch.Tensor
    position: torch.Tensor
    x: torch.Tensor

    def where(self, chosen: torch.Tensor) -> "Tokens":
        """Those that a boolean [n] or places select."""
        return Tokens(*(column[chosen] for column in self))

    @classmethod
    def joined(cls, parts: Sequence["Tokens"]) -> "Tokens":
        """All parts in one."""
        return cls(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def usable(self, median: float) -> "Tokens":
        """Those that count, where norms have this `median`."""
        return self.where((self.position > 0) & (self.x.norm(dim=-1) <= OUTLIER * median))


def median_norm(tokens: Tokens) -> float:
    """Median norm of the tokens behind position 0."""
    return float(tokens.x[tokens.position > 0].norm(dim=-1).median())


@dataclass(frozen=True)
class Place:
    """Where an SAE reads: a site, and a layer as a block index or, if it is no whole number, a share of the depth."""

    site: str
    layer: float

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Place":
        """The place that an entry of `saes` in the config names."""
        return cls(settings["site"], settings["layer"])

    def index(self, model: Any, key: str) -> int:
        """The block index in a model; refuses one that does not exist or has no such site. key: of the entry."""
        blocks = find_blocks(model)
        layer = self.layer if isinstance(self.layer, int) else round(self.layer * (len(blocks) - 1))
        if layer >= len(blocks):
            raise StudyError(f"{key}.layer: there is no block {layer}, the model has {len(blocks)}, the first being 0")
        if self.site in blocks[layer].undefined:
            raise StudyError(f"{key}.site: layer {layer} has no {self.site}: {blocks[layer].undefined[self.site]}")
        check_parts(model, blocks, [self.site])
        return layer


class _EnoughError(Exception):
    """Nothing behind the layer that was read is needed."""


def read(model: Any, texts: Iterable[Demonstration], site: str, layer: int) -> Iterator[Tokens]:
    """Yield the activations at one site and block of all texts, a forward pass at a time, ordered within chunks."""
    block, waiting = find_blocks(model)[layer], iter(texts)
    found: list[torch.Tensor] = []

    def receive(_: str, __: int, x: torch.Tensor) -> None:
        found.append(x.detach())
        raise _EnoughError

    while chunk := list(islice(waiting, CHUNK)):
        for batch in batches(chunk, BATCH_TOKENS, length_class(model)):
            inputs = model_input(model, [one.tokens for one in batch], None)
            try:
                with torch.inference_mode(), reading([block], [site], receive):
                    decoder_of(model)(**inputs)
            except _EnoughError:
                yield _own(found.pop(), batch)


def read_layers(
    model: Any, texts: Sequence[Demonstration], sites: Sequence[str]
) -> Iterator[dict[tuple[str, int], Tokens]]:
    """Yield the activations at all layers and sites of texts, a forward pass at a time."""
    for batch in batches(texts, BATCH_TOKENS, length_class(model)):
        found: dict[tuple[str, int], Tokens] = {}

        def receive(site: str, layer: int, x: torch.Tensor, batch=batch, found=found) -> None:
            found[site, layer] = _own(x.detach(), batch)

        inputs = model_input(model, [one.tokens for one in batch], None)
        with torch.inference_mode(), reading(find_blocks(model), sites, receive):
            decoder_of(model)(**inputs)
        yield found


def _own(x: torch.Tensor, batch: Sequence[Demonstration]) -> Tokens:
    """The tokens of a batch [rows, longest, d] without padding."""
    lengths = [len(one.tokens.ids) for one in batch]
    return Tokens(
        torch.tensor([one.id for one in batch]).repeat_interleave(torch.tensor(lengths)),
        torch.cat([torch.arange(length) for length in lengths]),
        torch.cat([row[:length].float().cpu() for row, length in zip(x, lengths, strict=True)]).clone(),
    )
