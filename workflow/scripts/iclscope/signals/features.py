"""What a cheap selector would look at: length, label, uncertainty without a demonstration, likeness to other rows."""

import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from iclscope.activations.proofs import causal_mask
from iclscope.activations.reading import Demonstration, batches, longest, model_input, tokenise
from iclscope.activations.sites import decoder_of
from iclscope.engine import models
from iclscope.engine.choices import entropy, margin
from iclscope.engine.prompts import DemonstrationTokens, PromptEncoder, zero_shot_prompts
from iclscope.engine.reference import Scorer, scoring_method
from iclscope.engine.rotary import length_class
from iclscope.engine.scoring import score
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel, Task
from iclscope.runtime.logs import progress
from iclscope.signals.content_free import Probe, check_lengths, columns_of, probe_of
from iclscope.tables import EMBEDDINGS, FEATURES, SAMPLE

logger = logging.getLogger(__name__)

BATCH_TOKENS = 2048
MAX_LOGITS = 2**25  # logits that are held at once, 128 MB as float32

Row = Mapping[str, Any]


def read_demonstrations(
    model: Any, demonstrations: Sequence[DemonstrationTokens], max_logits: int = MAX_LOGITS
) -> tuple[np.ndarray, np.ndarray]:
    """How probable whole demonstrations are, and the embeddings of their questions, in one pass.

    Returns the mean negative log probability of the second to last token of each, given all earlier ones, in
    nats/token: float64 [n]; and the mean final hidden state (after the last norm) of its question's tokens: float32
    [n, d]. A batch has at most `max_logits` logits, or one demonstration.
    """
    head = model.get_output_embeddings()
    nll, vectors = np.empty(len(demonstrations)), _vectors(model, demonstrations)
    states: list[torch.Tensor] = []
    mask = causal_mask(model, longest(demonstrations))
    handle = head.register_forward_pre_hook(lambda _, arguments: states.append(arguments[0]))
    try:
        for places, batch in _passes(model, demonstrations, max_logits // head.out_features, "demonstrations"):
            inputs = model_input(model, batch, mask)
            states.clear()  # of what it may have read to forget
            with torch.inference_mode():
                logits = model(**inputs).logits[:, :-1].float()
            targets = inputs["input_ids"][:, 1:, None]
            surprisal = (logits.logsumexp(dim=-1) - logits.gather(2, targets)[..., 0]).cpu().double()
            nll[places] = [row[: len(tokens.ids) - 1].mean() for row, tokens in zip(surprisal, batch, strict=True)]
            vectors[places] = _question_means(states.pop(), batch)
    finally:
        handle.remove()
    return nll, vectors


def embed_questions(model: Any, items: Sequence[DemonstrationTokens]) -> np.ndarray:
    """Mean final hidden state (after the last norm) of each question's tokens: float32 [n, d].

    Equals the embeddings of `read_demonstrations`: under causal attention no question sees its answer.
    """
    vectors = _vectors(model, items)
    questions = [DemonstrationTokens(tokens.ids[: tokens.question[1]], tokens.question, (0, 0)) for tokens in items]
    mask = causal_mask(model, longest(questions))
    for places, batch in _passes(model, questions, BATCH_TOKENS, "questions"):
        with torch.inference_mode():
            states = decoder_of(model)(**model_input(model, batch, mask)).last_hidden_state
        vectors[places] = _question_means(states, batch)
    return vectors


def _vectors(model: Any, rows: Sequence[DemonstrationTokens]) -> np.ndarray:
    return np.empty((len(rows), model.config.get_text_config().hidden_size), np.float32)


def _passes(
    model: Any, rows: Sequence[DemonstrationTokens], batch_tokens: int, description: str
) -> Iterator[tuple[list[int], list[DemonstrationTokens]]]:
    """Batches of similar length, with the places of their rows."""
    made = batches(
        [Demonstration(place, tokens) for place, tokens in enumerate(rows)], batch_tokens, length_class(model)
    )
    for batch in progress(made, len(made), description, "batch"):
        yield [one.id for one in batch], [one.tokens for one in batch]


def _question_means(states: torch.Tensor, batch: Sequence[DemonstrationTokens]) -> np.ndarray:
    """Mean over the question's tokens of states [rows, tokens, d]: float32 [rows, d]."""
    spans = [tokens.question for tokens in batch]
    means = [row[start:end].float().mean(dim=0) for row, (start, end) in zip(states, spans, strict=True)]
    return torch.stack(means).cpu().numpy()


def zero_shot(model: Any, tokenizer: Any, candidates: Sequence[Row], scorer: Scorer = score) -> list[np.ndarray]:
    """Log probability in nats of each choice of each candidate, taken as an item without a demonstration."""
    return scorer(model, zero_shot_prompts(PromptEncoder(tokenizer), candidates), BATCH_TOKENS)


@dataclass(frozen=True)
class Readings:
    """What a model makes of each candidate, in the order of their rows.

    lengths: tokens of the demonstration. nll: [candidates], nats/token. logprobs: of each choice, zero-shot, in nats.
    vectors: [candidates, d], the embeddings of the questions. content_free: column of the features table → its values.
    """

    lengths: Sequence[int]
    nll: np.ndarray
    logprobs: Sequence[np.ndarray]
    vectors: np.ndarray
    content_free: Mapping[str, Any] = field(default_factory=dict)


def compute(
    candidates: Sequence[Row], readings: Readings, item_vectors: np.ndarray, neighbours: int, seed: int
) -> pl.DataFrame:
    """The features table of `candidates`, rows of the sample table; item_vectors: [items, d]."""
    vectors, logprobs = readings.vectors, readings.logprobs
    golds = [row["gold"] for row in candidates]
    ids = np.array([row["id"] for row in candidates], np.int32)
    content_free = {name: [None] * len(ids) for name in FEATURES.schema if name.startswith("content_free")}
    return pl.DataFrame(
        {
            "candidate": ids,
            "length": readings.lengths,
            "label": [row["gold"] if row["kind"] == "choice" else None for row in candidates],
            "nll": readings.nll,
            "answer_nll": [-float(values[gold]) for values, gold in zip(logprobs, golds, strict=True)],
            "zero_shot_margin": [margin(values, gold) for values, gold in zip(logprobs, golds, strict=True)],
            "zero_shot_entropy": [entropy(values) for values in logprobs],
            "similarity": _unit(vectors) @ _unit(item_vectors).mean(axis=0),
            "typicality": typicality(vectors, neighbours),
            **content_free,
            **readings.content_free,
            "random": random(seed, ids),
        },
        schema=FEATURES.schema,
    )


def typicality(vectors: np.ndarray, neighbours: int) -> np.ndarray:
    """Mean cosine similarity to the nearest other candidates, all of them if there are fewer: float64 [candidates]."""
    unit = _unit(vectors)
    others = ~np.eye(len(unit), dtype=bool)
    similarity = np.sort((unit @ unit.T)[others].reshape(len(unit), -1), axis=1)
    return similarity[:, -neighbours:].mean(axis=1)


def random(seed: int, ids: np.ndarray) -> np.ndarray:
    """Uniform noise per candidate id, float64 [candidates]; more candidates leave the values of earlier ones alone."""
    generator = np.random.default_rng([seed, zlib.crc32(b"random feature")])
    return generator.random(int(ids.max()) + 1)[ids]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [n, d] of length 1 in float64."""
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def content_free(
    model: Any, tokenizer: Any, candidates: Sequence[Row], probe: Probe, lengths: Sequence[int]
) -> dict[str, Any]:
    """The content-free columns that have values, from one pass over all candidates; lengths: of the demonstrations."""
    prompts = probe.prompts(PromptEncoder(tokenizer), candidates)
    check_lengths(prompts, models.context_length(model))
    logprobs = scoring_method(model, prompts, BATCH_TOKENS)(model, prompts, BATCH_TOKENS)
    read = np.array([len(prompt.context) for prompt in prompts]).reshape(len(candidates), -1)
    return columns_of(candidates, probe, logprobs, (read - np.array(lengths)[:, None]).sum(axis=1).tolist())


@dataclass(frozen=True)
class Files:
    """The samples of a data set."""

    candidates: str | Path
    item_rows: str | Path


def run(
    *,
    files: Files,
    model: PreparedModel,
    task: Task,
    settings: Mapping[str, Any],
    features_out: str | Path,
    embeddings_out: str | Path,
    job: Job,
) -> None:
    """Write features and embeddings of a data set; settings are those of the config key `features`."""
    rows, items = SAMPLE.read(files.candidates).to_dicts(), SAMPLE.read(files.item_rows).to_dicts()
    probe = probe_of(rows, task, settings, job.seed)  # refuses a filler before the model is read
    loaded, tokenizer = models.load(*model)
    tokens = [one.tokens for one in tokenise(rows, loaded, tokenizer)]
    item_tokens = [one.tokens for one in tokenise(items, loaded, tokenizer)]
    lengths = [len(one.ids) for one in tokens]
    logger.info("%d candidates of %d tokens, %d items", len(rows), sum(lengths), len(items))
    nll, vectors = read_demonstrations(loaded, tokens)
    item_vectors = embed_questions(loaded, item_tokens)
    for role, values, known in (("candidate", vectors, rows), ("item", item_vectors, items)):
        _check_finite(model.name, role, values, known)
    encodings = None
    if "encoder" in settings:
        from iclscope.signals.encoder import encode  # its library takes seconds to import

        encodings = encode(settings["encoder"], [row["question"] for row in [*rows, *items]], model.device).tolist()
    scorer = scoring_method(loaded, zero_shot_prompts(PromptEncoder(tokenizer), rows), BATCH_TOKENS)
    columns = content_free(loaded, tokenizer, rows, probe, lengths) if probe else {}
    readings = Readings(lengths, nll, zero_shot(loaded, tokenizer, rows, scorer), vectors, columns)
    frame = compute(rows, readings, item_vectors, settings["neighbours"], job.seed)
    FEATURES.write(frame, features_out, job.provenance)
    EMBEDDINGS.write(
        pl.DataFrame(
            {
                "role": ["candidate"] * len(rows) + ["item"] * len(items),
                "id": [row["id"] for row in [*rows, *items]],
                "vector": np.concatenate([vectors, item_vectors]).tolist(),
                "encoding": encodings,
            },
            schema=EMBEDDINGS.schema,
        ),
        embeddings_out,
        job.provenance,
    )


def _check_finite(model: str, role: str, vectors: np.ndarray, rows: Sequence[Row]) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise StudyError(
            f"models.{model}: the final hidden state of {role} {rows[bad[0]]['id']} is not finite, or its question has "
            f"no tokens; try models.{model}.dtype: float32"
        )
