"""What sparse autoencoders will cost: texts that the model reads up to one layer, training, features of every token."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.activations.reading import Demonstration, tokenise
from iclscope.engine import models
from iclscope.plan import workload
from iclscope.plan.workload import Architecture
from iclscope.runtime.configuration.registries import SAE_LENS
from iclscope.saes import formats
from iclscope.saes.codes import question
from iclscope.saes.learning import MEMORY
from iclscope.saes.reading import Place
from iclscope.saes.texts import ROW, STUDY, divided, file_texts, study_texts
from iclscope.statistics.resampling import generator
from iclscope.tables import POOL
from iclscope.tasks.samples import ITEM

# Operations per weight of the decoder and token: two maps, each forwards, and in training backwards to both its sides.
READ, TRAINED = 4, 12
WIDTH = 2**14  # features of a published SAE that is not on this machine yet
ACTIVE, BYTES_OF_ONE = 64, 6  # active features of a token where the config does not say, and bytes of each on disk


@dataclass(frozen=True)
class Share:
    """Part of the cost of SAEs: tokens that the model reads, operations of model and SAE, bytes on disk."""

    tokens: int = 0
    flops: float = 0.0
    size: float = 0.0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.tokens + other.tokens, self.flops + other.flops, self.size + other.size)


@dataclass(frozen=True)
class Planned:
    """An SAE of the config for a model: its entry and name, and the model's shape and folder."""

    name: str
    entry: Mapping[str, Any]
    shape: Architecture
    folder: str | Path

    @cached_property
    def weights(self) -> int:
        """Weights of its decoder; one that is on the hub counts with WIDTH features."""
        found = self.entry.get("width", WIDTH)
        if folder := self.entry.get("path"):
            key = f"saes.{self.name}.path"
            found = formats.read(Path(folder), self.entry.get("format", SAE_LENS), key)[0].width
        return int(found) * int(self.shape.model.config.get_text_config().hidden_size)

    def read(self, texts: Sequence[Demonstration], per_weight: float) -> Share:
        """Reading texts up to its layer, with so many operations per weight of the SAE behind every token."""
        work, blocks = workload.extraction(texts), len(self.shape.blocks)
        depth = (Place.of(self.entry).among(blocks) + 1) / blocks
        return Share(work.tokens, depth * self.shape.flops(work) + per_weight * self.weights * work.tokens)

    def learn(self, texts: Sequence[str], seed: int) -> Share:
        """Training on texts, or measuring, and what is held out; each epoch reads anew what memory does not hold."""
        tokenizer, context = models.load_tokenizer(self.folder), models.load_context_length(self.folder)
        rng = generator(seed, f"texts of {self.name}")
        train, held_out = divided(texts, tokenizer, context, self.entry["tokens"], rng)
        width, epochs = self.shape.model.config.get_text_config().hidden_size, self.entry.get("epochs", 1)
        held = 4 * width * sum(len(one.tokens.ids) for one in train) <= MEMORY
        read = self.read(train, TRAINED * epochs if held else TRAINED)
        cost = read if held else sum([read] * epochs, read)
        return cost + self.read(held_out, READ) + Share(size=8 * self.weights)


def texts_of(entry: Mapping[str, Any], name: str, pools: Iterable[tuple[str | Path, int]]) -> list[str]:
    """The texts that an SAE reads; pools: file and number of items of every data set."""
    if entry["texts"] != STUDY:
        return file_texts(entry["texts"]["files"], f"saes.{name}.texts")
    frames = [(POOL.read(path, columns=["role", "id", *ROW, "prefix", "answer_end"]), items) for path, items in pools]
    return study_texts((frame, frame.filter(pl.col("role") == ITEM, pl.col("id") < items)) for frame, items in frames)


def of_model(config: Mapping[str, Any], model: str, shape: Architecture, folder: str | Path) -> list[Planned]:
    """The SAEs of a model; folder: with its config.json and tokenizer."""
    entries = config.get("saes", {}).items()
    return [Planned(name, entry, shape, folder) for name, entry in entries if entry.get("model", model) == model]


def learned(saes: Sequence[Planned], pools: Sequence[tuple[str | Path, int]], seed: int) -> Share:
    """Training and measuring all of them."""
    return sum((one.learn(texts_of(one.entry, one.name, pools), seed) for one in saes), Share())


def read(saes: Sequence[Planned], candidates: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]) -> Share:
    """Features of the tokens of all candidates, and of the items' questions, by all of them and their twins."""
    total = Share()
    for one in saes:
        tokenizer, model = models.load_tokenizer(one.folder), one.shape.model
        texts = [*tokenise(candidates, model, tokenizer), *map(question, tokenise(items, model, tokenizer))]
        both = 2 if one.entry.get("controls") else 1  # from one reading
        share = one.read(texts, both * READ)
        active = one.entry.get("k", ACTIVE) * BYTES_OF_ONE * share.tokens
        total += share + Share(size=both * active)
    return total
