"""Activations of candidates under an attention mask, reduced to statistics per token while the model runs.

A hook at each site reduces the activation to a few numbers per token on the spot, so that no layer's activations are
kept. Demonstrations of similar length form a batch; statistics do not depend on the batch.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch

from iclscope.activations.masks import MaskFunction, named
from iclscope.activations.per_token import TOP, VECTORS, summarise
from iclscope.activations.proofs import check_parts, readable_masks
from iclscope.activations.reading import Demonstration, batches, longest, read_batch, tokenise
from iclscope.activations.sites import Block, check_sites, find_blocks
from iclscope.engine import models
from iclscope.engine.rotary import length_class
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.runtime.logs import progress
from iclscope.runtime.parquet import TableWriter, is_made_by
from iclscope.runtime.provenance import digest
from iclscope.tables import ACTIVATIONS, PER_TOKEN, SAMPLE, SPANS

logger = logging.getLogger(__name__)


CANDIDATES_PER_CHUNK = 64  # candidates in a row group: large enough to compress well, small enough to wait in memory
FLOAT16_LIMIT = float(np.finfo(np.float16).max)


def extract(
    model: Any,
    demonstrations: Sequence[Demonstration],
    mask: MaskFunction | None,
    sites: Sequence[str],
    top_k: int,
    batch_tokens: int,
) -> Iterator[pl.DataFrame]:
    """Yield rows of the activations table batch by batch, each ordered by site, layer and place in the batch.

    Refuses activations that are not finite. Pooled vectors are stored in float16; values beyond its range are set to
    its largest, with a warning at the end.
    """
    check_sites(sites)
    blocks = find_blocks(model)
    clipped: set[tuple[str, int]] = set()
    for batch in batches(demonstrations, batch_tokens, length_class(model)):
        lengths = torch.tensor([len(one.tokens.ids) for one in batch])
        found = read_batch(model, blocks, sites, batch, mask, partial(summarise, lengths=lengths, top_k=top_k))
        frames = []
        for site in sites:
            layers = np.array([layer for layer, block in enumerate(blocks) if site not in block.undefined], np.int16)
            if not len(layers):
                continue
            parts = [found.pop((site, layer)) for layer in layers.tolist()]
            stacked = {name: torch.stack([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
            _check_finite(model, batch, (site, layers), stacked["mean_abs"], lengths.numpy())
            beyond = np.maximum(*(np.abs(stacked[name]).max(axis=(1, 2)) for name in VECTORS)) > FLOAT16_LIMIT
            clipped |= {(site, layer) for layer in layers[beyond].tolist()}
            frames.append(_rows(batch, (site, layers), stacked, lengths.numpy()))
        yield pl.concat(frames)
    if clipped:
        logger.warning("pooled vectors exceed float16 and were clipped to %g at %s", FLOAT16_LIMIT, sorted(clipped))


Place = tuple[str, np.ndarray]  # a site, and the layers that have it: int16 [layers]


def _check_finite(
    model: Any, batch: Sequence[Demonstration], place: Place, mean_abs: np.ndarray, lengths: np.ndarray
) -> None:
    """Refuse infinite or undefined activations; mean_abs [layers, rows, tokens] shows both."""
    site, layers = place
    bad = ~np.isfinite(mean_abs) & _is_token(mean_abs.shape[-1], lengths)
    if bad.any():
        layer, row, _ = np.argwhere(bad)[0]
        raise StudyError(
            f"models: activations of {Path(model.name_or_path).name or type(model).__name__} are not finite for "
            f"candidate {batch[row].id} at layer {layers[layer]}, site {site}; try dtype: float32"
        )


def _is_token(longest: int, lengths: np.ndarray) -> np.ndarray:
    """Which places are tokens rather than padding: bool [rows, longest]."""
    return np.arange(longest) < lengths[:, None]


def _rows(
    batch: Sequence[Demonstration], place: Place, found: dict[str, np.ndarray], lengths: np.ndarray
) -> pl.DataFrame:
    """Rows of the activations table from statistics [layers, rows, …], layer by layer."""
    site, numbers = place
    layers, rows, longest = found["mean"].shape
    spans = np.array([(len(one.tokens.ids), *one.tokens.question, *one.tokens.answer) for one in batch], np.int32)
    is_token = _is_token(longest, lengths)
    columns: dict[str, Any] = {
        "candidate": np.tile(np.array([one.id for one in batch], np.int32), layers),
        "layer": np.repeat(numbers, rows),
        "site": [site] * (layers * rows),
        **dict(zip(SPANS, np.tile(spans, (layers, 1)).T, strict=True)),
    }
    for name in PER_TOKEN:
        columns[name] = as_lists(found[name][:, is_token], np.tile(lengths, layers))
    for name in TOP:
        columns[name] = as_lists(found[name], np.full(layers * rows, found[name].shape[-1]))
    for name in VECTORS:
        clipped = np.clip(found[name], -FLOAT16_LIMIT, FLOAT16_LIMIT).astype(np.float16)
        columns[name] = as_lists(clipped, np.full(layers * rows, clipped.shape[-1]))
    return pl.DataFrame({name: columns[name] for name in ACTIVATIONS.schema})


def as_lists(values: np.ndarray, lengths: np.ndarray) -> pl.Series:
    """A list column from its values in order and the length of each list."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    lists = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, pa.array(values.ravel())))
    assert isinstance(lists, pl.Series)
    return lists


def write_chunks(frames: Iterable[pl.DataFrame], writer: TableWriter) -> None:
    """Write frames of candidates as they come, one row group per site and layer for some candidates at a time.

    A reader of one layer skips all other row groups by their statistics; no more than about CANDIDATES_PER_CHUNK
    candidates and one batch wait in memory.
    """
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(part["candidate"].n_unique() for part in waiting) >= CANDIDATES_PER_CHUNK:
            _write_chunk(waiting, writer)
            waiting.clear()
    if waiting:
        _write_chunk(waiting, writer)


def _write_chunk(waiting: Sequence[pl.DataFrame], writer: TableWriter) -> None:
    writer.append(pl.concat(waiting).sort("site", "layer", "candidate"), by=["site", "layer"])


def undefined_sites(blocks: Sequence[Block], sites: Sequence[str]) -> dict[str, list[tuple[str, int, str]]]:
    """For the record of a file: under `undefined`, which sites which layers do not have, and why; empty if all do."""
    found = [
        (site, n, block.undefined[site]) for site in sites for n, block in enumerate(blocks) if site in block.undefined
    ]
    return {"undefined": found} if found else {}


def estimated_bytes(tokens: int, candidates: int, blocks: Sequence[Block], sites: Sequence[str], top_k: int) -> int:
    """Size of an activations table before compression, in bytes."""
    per_row = 4 * len(SPANS) + 4 * len(TOP) * top_k
    vectors = sum(2 * len(VECTORS) * block.width(site) for block, site in product(blocks, sites))
    rows_per_candidate = len(blocks) * len(sites)
    return rows_per_candidate * (4 * len(PER_TOKEN) * tokens + per_row * candidates) + vectors * candidates


def run(
    *,
    candidates: str | Path,
    model: PreparedModel,
    settings: Mapping[str, Any],
    code: str,
    activations_out: Mapping[str, str | Path],
    job: Job,
) -> None:
    """Write the activations of `candidates` under each mask of `activations_out` (mask → file), loading the model once.

    A file that the same recipe has made already is left alone, so that a new mask computes itself only; where that
    holds for all of them, the job was forced and all are made again. settings: those of the config key `activations`;
    code: digest of the code, which counts for the recipe.
    """
    sites, top_k = settings["sites"], settings["top_k"]
    check_sites(sites)
    for mask in activations_out:
        named(mask)
    extraction = digest([job.provenance["settings"], model.dtype, code])
    recipe = digest([extraction, job.provenance["inputs"]])
    waiting = [mask for mask, path in activations_out.items() if not is_made_by(recipe, path)] or list(activations_out)
    loaded, tokenizer = models.load(*model)
    demonstrations = tokenise(SAMPLE.read(candidates).iter_rows(named=True), loaded, tokenizer)
    blocks = find_blocks(loaded)
    check_parts(loaded, blocks, sites)
    functions = readable_masks(loaded, blocks, waiting, longest(one.tokens for one in demonstrations))
    tokens = sum(len(one.tokens.ids) for one in demonstrations)
    passes = len(batches(demonstrations, settings["batch_tokens"], length_class(loaded)))
    logger.info(
        "masks %s: %d candidates, %d tokens in %d batches, %d layers, sites %s; about %.0f MB each before compression",
        ", ".join(waiting), len(demonstrations), tokens, passes, len(blocks), ", ".join(sites),
        estimated_bytes(tokens, len(demonstrations), blocks, sites, top_k) / 1e6,
    )  # fmt: skip
    made = {**job.provenance, "extraction": extraction, "recipe": recipe, **undefined_sites(blocks, sites)}
    for mask in waiting:
        frames = extract(loaded, demonstrations, functions[mask], sites, top_k, settings["batch_tokens"])
        with ACTIVATIONS.writer(activations_out[mask], made) as writer:
            write_chunks(progress(frames, passes, f"activations, {mask}", "batch"), writer)
