"""Whole activations, token by token, at one site and layer: from a file (`store: full`), or computed as they are read.

Batches of them train a sparse autoencoder or a probe. In the file a row group holds one site and layer of one batch of
candidates, so that neither writer nor reader ever has more than that in memory.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import torch

from iclscope.activations.extraction import FLOAT16_LIMIT, as_lists
from iclscope.activations.masks import MaskFunction
from iclscope.activations.proofs import check_parts, readable_masks
from iclscope.activations.reading import Demonstration, batches, longest, model_input, read_batch, tokenise
from iclscope.activations.sites import Block, check_sites, decoder_of, find_blocks, reading
from iclscope.engine import models
from iclscope.engine.rotary import length_class
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.runtime.logs import progress
from iclscope.tables import SAMPLE, TOKEN_ACTIVATIONS

logger = logging.getLogger(__name__)

BATCH_TOKENS = 1024


class TokenBatch(NamedTuple):
    """Activations of some tokens at one site and layer, and whose they are.

    candidate, position: int32 [tokens]. activation: [tokens, d], in float16 from a file, else in the model's precision.
    """

    candidate: np.ndarray
    position: np.ndarray
    activation: torch.Tensor


def stored_batches(path: str | Path, site: str, layer: int, batch_tokens: int = BATCH_TOKENS) -> Iterator[TokenBatch]:
    """Yield the activations at one site and layer from a file of `store: full`, at most `batch_tokens` at a time.

    Only the row groups of that site and layer are read. Tokens come in the file's order, candidate by candidate.
    """
    if not Path(path).is_file():
        raise StudyError(f"{path} does not exist; it is made where the config says activations.store: full")
    file = pq.ParquetFile(path)
    groups = [g for g in range(file.num_row_groups) if _holds(file.metadata.row_group(g), site, layer)]
    if not groups:
        raise StudyError(f"{path} has no activations of site {site!r} at layer {layer}")
    for part in file.iter_batches(batch_tokens, row_groups=groups, columns=["candidate", "position", "vector"]):
        values = part.column("vector").flatten().to_numpy(zero_copy_only=False)
        yield TokenBatch(
            part.column("candidate").to_numpy(),
            part.column("position").to_numpy(),
            torch.from_numpy(values.reshape(len(part), -1).copy()),
        )


def computed_batches(
    model: PreparedModel,
    candidates: str | Path,
    mask: str,
    site: str,
    layer: int,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[TokenBatch]:
    """Yield the activations at one site and layer while `model` reads `candidates`.

    candidates: a sample's Parquet file. Nothing is stored; every pass over the data runs the model again.
    """
    loaded, tokenizer = models.load(*model)
    demonstrations = tokenise(SAMPLE.read(candidates).iter_rows(named=True), loaded, tokenizer)
    blocks = find_blocks(loaded)
    check_parts(loaded, blocks, [site])
    function = readable_masks(loaded, blocks, [mask], longest(one.tokens for one in demonstrations))[mask]
    yield from stream(loaded, demonstrations, function, site, layer, batch_tokens)


def stream(
    model: Any,
    demonstrations: Sequence[Demonstration],
    mask: MaskFunction | None,
    site: str,
    layer: int,
    batch_tokens: int,
) -> Iterator[TokenBatch]:
    """Yield the activations at one site and layer of tokenised demonstrations, a forward pass at a time."""
    check_sites([site])
    blocks = find_blocks(model)
    if not 0 <= layer < len(blocks):
        raise StudyError(f"layer {layer} does not exist; the model has layers 0 to {len(blocks) - 1}")
    if site in blocks[layer].undefined:
        raise StudyError(f"layer {layer} has no {site}: {blocks[layer].undefined[site]}")
    for batch in batches(demonstrations, batch_tokens, length_class(model)):
        x = read_batch(model, [blocks[layer]], [site], batch, mask, torch.Tensor.detach)[site, 0]
        yield TokenBatch(*_places(batch), _own_tokens(x, batch))


def run(
    *,
    candidates: str | Path,
    model: PreparedModel,
    mask: str,
    settings: Mapping[str, Any],
    token_activations_out: str | Path,
    job: Job,
) -> None:
    """Write the whole activations of `candidates` under `mask` at all layers; settings: those of `activations`.

    Says before it starts how many GB that will be, and refuses where the disk has no room for them.
    """
    sites = settings["sites"]
    check_sites(sites)
    loaded, tokenizer = models.load(*model)
    demonstrations = tokenise(SAMPLE.read(candidates).iter_rows(named=True), loaded, tokenizer)
    blocks = find_blocks(loaded)
    check_parts(loaded, blocks, sites)
    function = readable_masks(loaded, blocks, [mask], longest(one.tokens for one in demonstrations))[mask]
    _announce(mask, stored_bytes(demonstrations, blocks, sites), Path(token_activations_out))
    made = batches(demonstrations, settings["batch_tokens"], length_class(loaded))
    with TOKEN_ACTIVATIONS.writer(token_activations_out, job.provenance) as writer:
        for batch in progress(made, len(made), f"whole activations, {mask}", "batch"):
            inputs = model_input(loaded, [one.tokens for one in batch], function)
            receive = lambda site, layer, x, batch=batch: writer.append(_rows(batch, site, layer, x))  # noqa: E731
            with torch.inference_mode(), reading(blocks, sites, receive):
                decoder_of(loaded)(**inputs)


def stored_bytes(demonstrations: Sequence[Demonstration], blocks: Sequence[Block], sites: Sequence[str]) -> int:
    """Bytes of the vectors of all tokens, sites and layers in float16, before compression."""
    tokens = sum(len(one.tokens.ids) for one in demonstrations)
    return 2 * tokens * sum(block.width(site) for block, site in product(blocks, sites))


def _announce(mask: str, size: int, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(output.parent).free
    logger.warning("store: full writes about %.2f GB for mask %s; %.0f GB are free", size / 1e9, mask, free / 1e9)
    if size > free:
        raise StudyError(
            f"activations.store: full needs about {size / 1e9:.1f} GB for {output}, but {free / 1e9:.1f} GB are free"
        )


def _rows(batch: Sequence[Demonstration], site: str, layer: int, x: torch.Tensor) -> pl.DataFrame:
    """Rows of the table for the activation [rows, tokens, d] of a batch."""
    candidate, position = _places(batch)
    vectors = _own_tokens(x, batch).float().clamp(-FLOAT16_LIMIT, FLOAT16_LIMIT).half().cpu().numpy()
    columns = {
        "candidate": candidate,
        "position": position,
        "layer": np.full(len(candidate), layer, np.int16),
        "site": [site] * len(candidate),
        "vector": as_lists(vectors, np.full(len(vectors), vectors.shape[-1])),
    }
    return pl.DataFrame({name: columns[name] for name in TOKEN_ACTIVATIONS.schema})


def _places(batch: Sequence[Demonstration]) -> tuple[np.ndarray, np.ndarray]:
    """Candidate and position of each token of a batch, int32 [tokens] each."""
    lengths = [len(one.tokens.ids) for one in batch]
    return (
        np.repeat(np.array([one.id for one in batch], dtype=np.int32), lengths),
        np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
    )


def _own_tokens(x: torch.Tensor, batch: Sequence[Demonstration]) -> torch.Tensor:
    """The activation [rows, longest, d] without padding: [tokens, d]."""
    return torch.cat([row[: len(one.tokens.ids)] for row, one in zip(x, batch, strict=True)])


def _holds(group: pq.RowGroupMetaData, site: str, layer: int) -> bool:
    """Whether a row group holds a site and layer, by its statistics."""
    columns = {group.column(c).path_in_schema: group.column(c).statistics for c in range(group.num_columns)}
    return columns["site"].min == site and columns["layer"].min == layer
