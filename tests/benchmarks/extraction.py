"""What it costs to read activations, beside a bare forward pass, TransformerLens, and hooks that keep whole tensors.

PYTHONPATH=workflow/scripts python tests/benchmarks/extraction.py [--lens PYTHON] [PART ...]

Writes results/benchmarks/extraction.json. Parts: cost, memory, metrics; all unless some are named. PYTHON is the
interpreter of an environment of its own that has transformer-lens; without it that comparison is left out.
Every method runs in a process of its own, in turns with a bare forward pass over the same batches.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from transformers import AutoModelForCausalLM

from iclscope.activations.extraction import extract, write_chunks
from iclscope.activations.masks import named
from iclscope.activations.reading import Demonstration, batches, model_input
from iclscope.activations.sites import SITES, find_blocks, reading
from iclscope.engine import models
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.jobs import Job
from iclscope.signals import metrics
from iclscope.signals.poolings import POOLINGS
from iclscope.tables import ACTIVATIONS
from record import ROOT, machine, peak_memory, seconds

logging.basicConfig(level=logging.INFO, format="%(message)s")
logger = logging.getLogger("benchmark")

MODEL = ROOT / "resources/models/smollm2-135m"
OUTPUT = ROOT / "results/benchmarks/extraction.json"
LENGTHS = (30, 57)  # tokens of a demonstration, as in the default study
BATCH_TOKENS, TOP_K, ROUNDS = 1024, 8, 3
CANDIDATES = 24
GROWTH = (64, 256, 1024, 2048)
PARTS = ("cost", "memory", "metrics")
LENS_SITES = (".hook_mlp_out", ".mlp.out.hook_in", ".hook_resid_post")

Batches = list[list[Demonstration]]


def demonstrations(count: int) -> list[Demonstration]:
    """Demonstrations of random tokens; only their lengths matter for time and memory."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(*LENGTHS, count).tolist()
    return [
        Demonstration(i, DemonstrationTokens(rng.integers(2, 40000, n).tolist(), (0, n - 3), (n - 3, n)))
        for i, n in enumerate(lengths)
    ]


def bare(model: Any, made: Batches) -> None:
    """The model alone, without its head, as the extraction calls it."""
    for batch in made:
        with torch.inference_mode():
            model.get_decoder()(**model_input(model, [one.tokens for one in batch], named("causal")))


def iclscope(model: Any, made: Batches) -> None:
    """Statistics and pooled vectors of all sites, as rows of the activations table."""
    flat = [one for batch in made for one in batch]
    for _ in extract(model, flat, named("causal"), list(SITES), TOP_K, BATCH_TOKENS):
        pass


def written(model: Any, made: Batches) -> None:
    """The same, compressed and written to a file."""
    flat = [one for batch in made for one in batch]
    frames = extract(model, flat, named("causal"), list(SITES), TOP_K, BATCH_TOKENS)
    with tempfile.TemporaryDirectory() as folder, ACTIVATIONS.writer(Path(folder, "a.parquet"), {}) as writer:
        write_chunks(frames, writer)


def hooks(model: Any, made: Batches) -> list[Any]:
    """Whole tensors of all sites, kept for all candidates."""
    kept: list[Any] = []
    with reading(find_blocks(model), list(SITES), lambda site, layer, x: kept.append((site, layer, x))):
        bare(model, made)
    return kept


def lens(model: Any, made: Batches) -> list[Any]:
    """`run_with_cache` of TransformerLens at the same sites, kept for all candidates."""
    inputs = [model_input(model.original_model, [one.tokens for one in batch], named("causal")) for batch in made]
    with torch.inference_mode():
        return [
            model.run_with_cache(one["input_ids"], names_filter=lambda name: name.endswith(LENS_SITES))[1]
            for one in inputs
        ]


OWN: dict[str, Callable[[Any, Batches], Any]] = {
    "iclscope": iclscope,
    "iclscope, file written": written,
    "hooks": hooks,
}


def measure(method: str, count: int, rounds: int) -> dict[str, Any]:
    """Seconds of a bare pass and of `method` in turns, and the peak memory that `method` adds to it, in MB.

    A bare pass is one of the model as transformers loads it; `packed_seconds` are those of the model as iclscope loads
    it, with packed weights, which all methods but TransformerLens use.
    """
    model, tokenizer = models.load(MODEL, "float32", "cpu")
    plain = AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32").eval()
    made = batches(demonstrations(count), BATCH_TOKENS)
    for one in (plain, model):
        bare(one, made[:2])
    without = peak_memory()
    before = [(seconds(lambda: bare(plain, made)), seconds(lambda: bare(model, made))) for _ in range(rounds)]
    if method in OWN:
        run = partial(OWN[method], model, made)
    else:
        from transformer_lens.model_bridge import TransformerBridge

        bridge = TransformerBridge.boot_transformers(str(MODEL), hf_model=plain, tokenizer=tokenizer, device="cpu")
        run = partial(lens, bridge, made)
    times = [(*pair, seconds(run)) for pair in before]
    return {
        "method": method,
        "candidates": count,
        "tokens": sum(len(one.tokens.ids) for batch in made for one in batch),
        "bare_seconds": round(statistics.median(first for first, _, _ in times), 2),
        "packed_seconds": round(statistics.median(second for _, second, _ in times), 2),
        "seconds": round(statistics.median(third for _, _, third in times), 2),
        "ratio": round(statistics.median(third / first for first, _, third in times), 3),
        "ratio_packed": round(statistics.median(third / second for _, second, third in times), 3),
        "added_peak_mb": round(peak_memory() - without),
    }


def measure_memory(count: int) -> dict[str, Any]:
    """The peak memory that extraction to a file adds to a bare pass over some batches, in MB."""
    model, _ = models.load(MODEL, "float32", "cpu")
    made = batches(demonstrations(count), BATCH_TOKENS)
    bare(model, made[:2])
    without = peak_memory()
    written(model, made)
    return {"candidates": count, "added_peak_mb": round(peak_memory() - without)}


def measure_metrics() -> dict[str, Any]:
    """Seconds for every metric and pooling of 1,000 candidates at 28 layers of one site, from file to file."""
    count, layers = 1000, 28
    rng = np.random.default_rng(0)
    lengths = rng.integers(*LENGTHS, count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.parquet")
        with ACTIVATIONS.writer(path, {"extraction": ""}) as writer:
            for layer in range(layers):
                writer.append(statistics_of(layer, lengths, rng))
        settings = {"poolings": list(POOLINGS), "names": list(metrics.METRICS_BY_NAME)}
        made = Path(folder, "m.parquet")
        files = {"activations": {"causal": path}, "metrics_out": {"causal": made}}
        asked = {**files, "extraction": "", "code": "", "settings": settings, "job": Job(0, {})}
        time_taken = seconds(lambda: metrics.run(**asked))
        values = pl.scan_parquet(made).select(pl.len()).collect().item()
    return {"candidates": count, "layers": layers, "values": values, "seconds": round(time_taken, 2)}


def statistics_of(layer: int, lengths: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Rows of the activations table with random statistics; vectors have the width of the paper's models."""
    columns: dict[str, Any] = {"candidate": range(len(lengths)), "layer": layer, "site": "mlp_out"}
    columns |= {"n_tokens": lengths, "question_start": 0, "question_end": lengths - 3, "answer_start": lengths - 3}
    columns["answer_end"] = lengths
    frame = pl.DataFrame(columns)
    for column in ACTIVATIONS.columns[frame.width :]:
        length = 3072 if column.name.endswith("vector") else TOP_K if column.name.startswith("top_") else None
        sizes = lengths if length is None or column.name == "top_share" else [length] * len(lengths)
        frame = frame.with_columns(pl.Series(column.name, [rng.uniform(0.5, 2, n) for n in sizes]).cast(column.dtype))
    return frame.cast(dict(ACTIVATIONS.schema))


def in_process(python: str, *words: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow/scripts")}
    command = [python, __file__, "--measure", *words]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(result.stdout.splitlines()[-1])
    logger.info("%s", found)
    return found


def main() -> None:
    """Measure the parts that are asked for and write them beside those of earlier runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lens")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    arguments = parser.parse_args()
    if arguments.measure:
        method, *numbers = arguments.measure
        special = {"metrics": measure_metrics, "memory": measure_memory}
        found = special[method](*map(int, numbers)) if method in special else measure(method, *map(int, numbers))
        sys.stdout.write(json.dumps(found) + "\n")
        return
    results = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    for part in arguments.parts or PARTS:
        if part == "cost":
            pythons = {**dict.fromkeys(OWN, sys.executable), "TransformerLens": arguments.lens}
            results[part] = [in_process(p, m, str(CANDIDATES), str(ROUNDS)) for m, p in pythons.items() if p]
        elif part == "memory":
            results[part] = [in_process(sys.executable, "memory", str(count)) for count in GROWTH]
        else:
            results[part] = in_process(sys.executable, "metrics")
        OUTPUT.parent.mkdir(parents=True, exist_ok=True)
        OUTPUT.write_text(json.dumps({**results, "machine": machine(), "model": MODEL.name}, indent=2) + "\n")


if __name__ == "__main__":
    main()
