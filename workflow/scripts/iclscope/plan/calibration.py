"""How fast this machine does a model's work, measured in seconds on the engine itself with random weights."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.initialization import no_init_weights

from iclscope.activations.extraction import extract
from iclscope.activations.proofs import causal_mask
from iclscope.activations.reading import tokenise
from iclscope.engine import models
from iclscope.engine.attention.rows import lay_in_rows
from iclscope.engine.batch_tokens import PackLength
from iclscope.engine.cpu import pack_for_cpu
from iclscope.engine.generation import MOST_SLOTS, Stopping, generate, slots_of
from iclscope.engine.packing import computed_tokens, pack, shared_length
from iclscope.engine.prompts import PromptEncoder
from iclscope.engine.reference import generation_method, scoring_method
from iclscope.plan import workload
from iclscope.plan.workload import Architecture, Work
from iclscope.runtime import devices
from iclscope.runtime.code_digest import SCRIPTS

SECONDS = 10.0  # for all models together
MOST_WEIGHTS = 3e8  # in the blocks of a calibrated model; a larger one is cut to fewer layers, which are all alike
ITEMS = 16  # behind a demonstration; as many demonstrations are read at a time
LAID_OUT = 128  # items whose prompts are laid out, without a model, for the time that this takes
NEW_TOKENS = 16
START = 15.0  # seconds until a job's libraries are imported, on a shared file system

Row = Mapping[str, Any]
Samples = Sequence[tuple[Sequence[Row], Sequence[Row]]]
Step = tuple[Work, Callable[[], Any]]


@dataclass(frozen=True)
class Rates:
    """FLOP/s that a device reaches at scoring, at reading activations and at generating; seconds that a job starts.

    layout: seconds in which a core prepares a token to be scored, while the device computes others.
    """

    scoring: float
    extraction: float
    generation: float
    start: float
    layout: float


def given(teraflops: float, gigabytes_per_second: float, bytes_per_weight: int, layout: float) -> Rates:
    """Rates of a device of which is known how fast it multiplies and reads memory; `layout` is this machine's.

    Generating reads all weights for one token of each running answer, and is bound by whichever takes longer.
    """
    flops = teraflops * 1e12
    generation = min(flops, 2 * MOST_SLOTS * gigabytes_per_second * 1e9 / bytes_per_weight)
    return Rates(flops, flops, generation, START, layout)


def layout(encoder: PromptEncoder, samples: Samples, batch_tokens: int | str) -> float:
    """Seconds in which a core of this machine encodes a token of prompts, packs it and lays it out in rows."""
    tokens, taken = 0, 0.0
    for candidates, items in samples:
        encoder.encode(candidates[0]["prefix"], items[:LAID_OUT])  # what is looked up from then on
        for row in candidates[1:3] or candidates:
            start = time.perf_counter()
            prompts = encoder.encode(row["prefix"], items[:LAID_OUT])
            shared = shared_length([prompt.context for prompt in prompts])
            for batch in pack(prompts, shared, PackLength(batch_tokens).tokens):
                lay_in_rows(batch)
            taken += time.perf_counter() - start
            tokens += computed_tokens(prompts)
    return taken / tokens


def measure(
    folder: str | Path,
    samples: Samples,
    activations: Mapping[str, Any],
    batch_tokens: int | str,
    dtype: str,
    device: str,
    seconds: float,
) -> Rates:
    """Rates of this machine for the architecture of `folder`.

    samples: candidates and items of each data set. activations: that section of the config. seconds: about how long.
    """
    model, tokenizer = random_model(folder, dtype, device), models.load_tokenizer(folder)
    shape, encoder, length = workload.shape_of(model), PromptEncoder(tokenizer), PackLength(batch_tokens)
    pack_for_cpu(model)
    tried = encoder.encode(samples[0][0][0]["prefix"], samples[0][1][:ITEMS])
    method, mask = scoring_method(model, tried, length.tokens), causal_mask(model)

    def scoring() -> Iterator[Step]:
        for place in itertools.count():
            for candidates, items in samples:
                prompts = encoder.encode(candidates[place % len(candidates)]["prefix"], items[:ITEMS])
                work = workload.packed(prompts)
                yield work, partial(length.run, partial(method, model, prompts), partial(computed_tokens, prompts))

    def extraction() -> Iterator[Step]:
        for candidates, _ in itertools.cycle(samples):
            demonstrations = tokenise(candidates[:ITEMS], model, tokenizer)
            reading = extract(
                model, demonstrations, mask, activations["sites"], activations["top_k"],
                activations["batch_tokens"],
            )  # fmt: skip
            yield workload.extraction(demonstrations), partial(list, reading)

    return Rates(
        _pace(shape, scoring(), seconds / 2),
        _pace(shape, extraction(), seconds / 4),
        _generation(model, tokenizer, shape, samples, length.tokens),
        _start(),
        layout(encoder, samples, batch_tokens),
    )


def random_model(folder: str | Path, dtype: str, device: str) -> Any:
    """A model of this architecture with random weights, cut to a few layers where it is large."""
    config = models.load_config(folder)
    whole, text = workload.architecture(folder), config.get_text_config()
    layers = min(len(whole.blocks), max(1, int(MOST_WEIGHTS * len(whole.blocks) / whole.linear)))
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    with no_init_weights():
        model = models.from_config(folder, config, dtype=models.DTYPES[dtype])
    model = model.to(devices.take(devices.pick(device))).eval().requires_grad_(False)
    generator = torch.Generator(model.device).manual_seed(0)
    for weights in model.parameters():
        weights.uniform_(-0.02, 0.02, generator=generator)
    return model


def _pace(shape: Architecture, steps: Iterator[Step], seconds: float) -> float:
    """FLOP/s over as many steps as fit into some seconds, after one that warms up."""
    next(steps)[1]()
    done, start = 0.0, time.perf_counter()
    for work, step in steps:
        step()
        done += shape.flops(work)
        if time.perf_counter() - start > seconds:
            break
    return done / (time.perf_counter() - start)


def _generation(model: Any, tokenizer: Any, shape: Architecture, samples: Samples, batch_tokens: int) -> float:
    """FLOP/s of generating in full slots, without the prompts: what more tokens take than one, which costs none."""
    candidates, items = samples[-1]
    prompts = PromptEncoder(tokenizer).encode(candidates[0]["prefix"], items[: slots_of(batch_tokens)])
    method = generation_method(model, tokenizer, prompts, batch_tokens, NEW_TOKENS)
    if method is not generate:
        prompts = prompts[:1]  # one is answered after the other
    taken = []
    for limit in (1, NEW_TOKENS):
        start = time.perf_counter()
        answers = method(model, tokenizer, [prompts], batch_tokens, Stopping((), limit))[0]
        taken.append(time.perf_counter() - start)
    later = [(len(answer.tokens) - 1, len(prompt.context)) for answer, prompt in zip(answers, prompts, strict=True)]
    tokens = sum(new for new, _ in later)
    work = Work(tokens, tokens, sum(new * context for new, context in later))
    return shape.flops(work) / max(taken[1] - taken[0], 1e-3)


def _start() -> float:
    """Seconds until a fresh process has imported what a job imports."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import iclscope.matrix.evaluation"], check=True, cwd=SCRIPTS)
    return time.perf_counter() - start
