"""Active features of every token of candidates and items: one pass, from which any pooling follows."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from iclscope.activations.extraction import FLOAT16_LIMIT, as_lists
from iclscope.activations.reading import Demonstration, tokenise
from iclscope.activations.sites import find_blocks
from iclscope.engine import models
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel, folder_of
from iclscope.runtime.logs import progress
from iclscope.runtime.provenance import digest
from iclscope.saes.dictionary import Dictionary, load
from iclscope.saes.learning import twin_of
from iclscope.saes.reading import Tokens, read
from iclscope.tables import SAE_FEATURES, SAMPLE, SPANS, TWIN
from iclscope.tasks.samples import CANDIDATE, ITEM

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """What is read: the samples, and the config of an SAE of the study, whose weights lie beside it."""

    candidates: str | Path
    item_rows: str | Path
    dictionary: str | Path


@dataclass(frozen=True)
class Fitted:
    """An SAE, and what it was measured with: site and block index, `median` norm and `mean` [d] of activations."""

    dictionary: Dictionary
    site: str
    layer: int
    median: float
    mean: torch.Tensor

    @classmethod
    def of(cls, path: str | Path, name: str, seed: int) -> "Fitted":
        """An SAE of the study by its config, or its untrained twin where `name` says so."""
        trained = name.removesuffix(TWIN)
        about = json.loads(Path(path).read_text(encoding="utf-8"))["metadata"]
        dictionary, mean = load(folder_of(path), f"saes.{trained}"), torch.tensor(about["mean"])
        if name != trained:
            dictionary = twin_of(dictionary.width, about["k"], mean, trained, seed)
        return cls(dictionary, about["site"], about["layer"], about["median_norm"], mean)


def run(
    *,
    files: Files,
    model: PreparedModel,
    settings: Mapping[str, Any],
    sae_features_out: Mapping[str, str | Path],
    job: Job,
) -> None:
    """Write the active features of every token of all candidates and items, reading them once.

    sae_features_out: the name of the SAE, and of its twin where that is asked for → file.
    """
    fitted = {name: Fitted.of(files.dictionary, name, job.seed) for name in sae_features_out}
    first = next(iter(fitted.values()))
    loaded, tokenizer = models.load(*model)
    if find_blocks(loaded)[first.layer].width(first.site) != first.dictionary.inputs:
        raise StudyError(f"{files.dictionary} was made for another model; delete its folder and rerun")
    texts = {
        role: tokenise(SAMPLE.read(path).iter_rows(named=True), loaded, tokenizer)
        for role, path in ((CANDIDATE, files.candidates), (ITEM, files.item_rows))
    }
    texts[ITEM] = [question(one) for one in texts[ITEM]]
    with ExitStack() as stack:
        writers = {}
        for name, one in fitted.items():
            own = {**settings, "name": name}
            about = {
                "settings": own,
                "settings_digest": digest(own),
                "architecture": one.dictionary.architecture,
                "place": [one.site, one.layer],
                "texts": {role: len(of) for role, of in texts.items()},
            }
            writer = SAE_FEATURES.writer(sae_features_out[name], {**job.provenance, **about})
            writers[name] = stack.enter_context(writer)
        for role, of in texts.items():
            for frames in progress(rows(loaded, of, fitted), None, f"features of {role}s", "batch"):
                for name, frame in frames.items():
                    writers[name].append(frame.with_columns(role=pl.lit(role)).select(SAE_FEATURES.schema.names()))


def question(one: Demonstration) -> Demonstration:
    """An item without its answer, which nobody has who chooses a demonstration for it."""
    return Demonstration(
        one.id, DemonstrationTokens(one.tokens.ids[: one.tokens.question[1]], one.tokens.question, (0, 0))
    )


def rows(model: Any, texts: Sequence[Demonstration], fitted: Mapping[str, Fitted]) -> Iterator[dict[str, pl.DataFrame]]:
    """By name of an SAE, rows of its table of features without their role, in the order in which texts are read.

    fitted: an SAE and its twin, which read at the same place.
    """
    known = {one.id: one for one in texts}
    dictionaries = {name: one.dictionary.to(model.device) for name, one in fitted.items()}
    place = next(iter(fitted.values()))
    for tokens in read(model, texts, place.site, place.layer):
        usable = tokens.usable(place.median)
        yield {name: _frame(usable, dictionary, place.mean, known) for name, dictionary in dictionaries.items()}


def _frame(
    tokens: Tokens, dictionary: Dictionary, mean: torch.Tensor, texts: Mapping[int, Demonstration]
) -> pl.DataFrame:
    """Rows of some tokens; the error is that of what is stored, in float16."""
    codes = dictionary.encode(tokens.x.to(dictionary.decoder.device)).clamp_max(FLOAT16_LIMIT)
    half = codes.half()
    error = (tokens.x - dictionary.decode(half.float()).cpu()).square().sum(dim=-1)
    stored = half.cpu().numpy()
    row, feature = np.nonzero(stored)
    counts = np.bincount(row, minlength=len(stored))
    spans = [_spans(texts[text]) for text in tokens.text.tolist()]
    columns: dict[str, Any] = {
        "id": pl.Series(tokens.text.numpy(), dtype=pl.Int32),
        "position": pl.Series(tokens.position.numpy(), dtype=pl.Int32),
        **{name: pl.Series([span[n] for span in spans], dtype=pl.Int32) for n, name in enumerate(SPANS)},
        "features": as_lists(feature.astype(np.int32), counts).cast(pl.List(pl.Int32)),
        "values": as_lists(stored[row, feature], counts).cast(pl.List(pl.Float16)),
        "error": error.numpy(),
        "energy": (tokens.x - mean).square().sum(dim=-1).numpy(),
    }
    return pl.DataFrame(columns)


def _spans(one: Demonstration) -> tuple[int, ...]:
    return (len(one.tokens.ids), *one.tokens.question, *one.tokens.answer)
