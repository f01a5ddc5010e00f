"""Questions as vectors, per layer: what the model makes of description and question alone, under its own attention.

What stands for an example that has no label yet must not have seen its answer, as activations of a demonstration have.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from iclscope.activations.extraction import as_lists
from iclscope.activations.reading import Demonstration, batches, model_input, tokenise
from iclscope.activations.sites import decoder_of, find_blocks
from iclscope.engine import models
from iclscope.engine.prompts import DemonstrationTokens, encode_question
from iclscope.engine.rotary import length_class
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.runtime.logs import progress
from iclscope.tables import POOL, REPRESENTATIONS, SAMPLE
from iclscope.tasks.samples import further_rows

logger = logging.getLogger(__name__)

LIMIT = 60_000  # larger values, which float16 hardly holds, are set to it
VECTORS = ("mean_vector", "last_vector")


@dataclass(frozen=True)
class Files:
    """The samples of a data set; and its pool, where it is other rows of this that are read."""

    candidates: str | Path
    item_rows: str | Path
    pool: str | Path | None = None


def layers_of(asked: int | Sequence[int], depth: int) -> list[int]:
    """Which hidden states are kept, in rising order: so many evenly spaced ones, or those that are named.

    depth: number of blocks, which the final hidden state has too; it is always among them. 0 is the embedding layer.
    """
    if isinstance(asked, int):
        return list(range(depth + 1)) if asked > depth else [round(depth * n / asked) for n in range(1, asked + 1)]
    if max(asked) > depth:
        raise StudyError(f"representations.layers: there is no layer {max(asked)}, the last of this model is {depth}")
    return sorted({*asked, depth})


def read(
    model: Any, questions: Sequence[DemonstrationTokens], layers: Sequence[int], batch_tokens: int
) -> dict[str, np.ndarray]:
    """Hidden states of questions: their mean over the question's tokens, and the last one.

    Returns `mean_vector` and `last_vector`, each float32 [layers, n, d]. The last hidden state of all has passed the
    last norm.
    """
    shape = (len(layers), len(questions), model.config.get_text_config().hidden_size)
    found = {name: np.empty(shape, np.float32) for name in VECTORS}
    for batch in _passes(model, questions, batch_tokens):
        with torch.inference_mode():
            inputs = model_input(model, [one.tokens for one in batch], None)
            states = decoder_of(model)(**inputs, output_hidden_states=True).hidden_states
        if states is None or len(states) <= max(layers):
            raise StudyError(
                f"representations: {Path(model.name_or_path).name or type(model).__name__} does not hand out the "
                "hidden states of its layers; take the section out, or the model off models"
            )
        kept = [states[layer].float() for layer in layers]
        for row, one in enumerate(batch):
            start, end = one.tokens.question
            for place, state in enumerate(kept):
                found["mean_vector"][place, one.id] = state[row, start:end].mean(dim=0).cpu()
                found["last_vector"][place, one.id] = state[row, len(one.tokens.ids) - 1].cpu()
    return found


def _passes(model: Any, questions: Sequence[DemonstrationTokens], batch_tokens: int) -> Iterator[list[Demonstration]]:
    """Batches of similar length, whose members are numbered by their places among the questions."""
    placed = [Demonstration(place, tokens) for place, tokens in enumerate(questions)]
    made = batches(placed, batch_tokens, length_class(model))
    yield from progress(made, len(made), "questions", "batch")


def run(
    *,
    files: Files,
    model: PreparedModel,
    settings: Mapping[str, Any],
    representations_out: str | Path,
    job: Job,
) -> None:
    """Write the representations of candidates and items or, of a pool, of rows that are neither.

    settings: `layers` as in the config; `further`, how many rows of a pool at most; `batch_tokens`, which shapes
    nothing.
    """
    rows = read_rows(files, settings.get("further", 0))
    loaded, tokenizer = models.load(*model)
    layers = layers_of(settings["layers"], len(find_blocks(loaded)))
    questions = [one.tokens for part in rows.values() for one in tokenise(part, loaded, tokenizer, encode_question)]
    tokens = sum(len(one.ids) for one in questions)
    size = 2 * len(VECTORS) * loaded.config.get_text_config().hidden_size * len(layers) * len(questions)
    counts = ", ".join(f"{len(part)} {role}" for role, part in rows.items())
    logger.info("%s: %d tokens, layers %s, about %.0f MB", counts, tokens, layers, size / 1e6)
    vectors = read(loaded, questions, layers, settings["batch_tokens"])
    named = [(role, row["id"]) for role, part in rows.items() for row in part]
    _check_finite(model.name, vectors, named)
    with REPRESENTATIONS.writer(representations_out, job.provenance) as writer:
        for place, layer in enumerate(layers):
            part = {name: _clamped(name, layer, values[place]) for name, values in vectors.items()}
            writer.append(_frame(layer, named, part).sort("role", "id"))


def read_rows(files: Files, further: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of the sample table by role: candidates and items, or else `further` rows of the pool at most."""
    candidates, items = SAMPLE.read(files.candidates), SAMPLE.read(files.item_rows)
    if files.pool is not None:
        return {"pool": further_rows(POOL.read(files.pool), candidates, items, further).to_dicts()}
    return {"candidates": candidates.to_dicts(), "items": items.to_dicts()}


def _check_finite(model: str, vectors: Mapping[str, np.ndarray], named: Sequence[tuple[str, int]]) -> None:
    finite = np.logical_and(*(np.isfinite(values).all(axis=(0, 2)) for values in vectors.values()))
    if not finite.all():
        role, number = named[int(np.argmin(finite))]
        raise StudyError(
            f"models.{model}: hidden states of row {number} of {role} are not finite, or its question has no tokens; "
            f"try models.{model}.dtype: float32"
        )


def _clamped(name: str, layer: int, values: np.ndarray) -> np.ndarray:
    """Values [n, d] of one layer as float16, none beyond ±LIMIT."""
    beyond = int((np.abs(values) > LIMIT).sum())
    if beyond:
        logger.warning("layer %d, %s: %d values beyond %d were set to it", layer, name, beyond, LIMIT)
    return np.clip(values, -LIMIT, LIMIT).astype(np.float16)


def _frame(layer: int, named: Sequence[tuple[str, int]], vectors: Mapping[str, np.ndarray]) -> pl.DataFrame:
    roles, ids = zip(*named, strict=True)
    lists = {name: as_lists(values, np.full(len(values), values.shape[1])) for name, values in vectors.items()}
    frame = {"layer": [layer] * len(named), "role": roles, "id": ids, **lists}
    return pl.DataFrame(frame, schema_overrides={"layer": pl.Int16, "id": pl.Int32})
