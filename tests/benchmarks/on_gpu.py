"""What the engine does on this machine's device, in one table: exactness, speed, share of the limit, waiting, memory.

PYTHONPATH=workflow/scripts:tests python tests/benchmarks/on_gpu.py [--model FOLDER] [--device cuda] [--dtypes …]

For whoever has a card; it runs on a CPU too. Per data set and dtype:

- nats: largest difference of a log probability from one pass of the model over that prompt alone, and of such passes
  from those padded to the length of all, which is what transformers differs by from itself;
- tokens/s: prompt tokens a second, of all candidates × items, each token that prompts share counted once;
- limit: that rate over the one at which nothing but the matrix products of these tokens would be computed;
- attention: in rows or in blocks, of which a CPU has the first alone;
- in use: share of the time in which the device computes, while prompts are encoded and laid out;
- MB: the most memory that the device held, of a CPU the process.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from iclscope.engine import models, scoring
from iclscope.engine.attention.blocks import lay_in_blocks
from iclscope.engine.attention.rows import lay_in_rows
from iclscope.engine.batch_tokens import LADDER
from iclscope.engine.packing import computed_tokens
from iclscope.engine.prompts import Prompt
from iclscope.runtime.prefetch import ahead
from limits import limit_seconds
from record import peak_memory, seconds, show, write
from subjects import Pairs, model_folder, pairs_of

CHECKED = 16  # prompts whose log probabilities are compared
ROUNDS = 3
WAYS = {"rows": lay_in_rows, "blocks": lay_in_blocks}
TOGETHER = 8  # candidates that are scored at a time, as in the score matrix


def main() -> None:
    """Print the table and write results/benchmarks/on_gpu.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a prepared model: resources/models/NAME of a study")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--datasets", nargs="+", default=["openbookqa", "commonsenseqa", "boolq"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--items", type=int, default=64)
    asked = parser.parse_args()
    rows = []
    for dtype in asked.dtypes:
        model, tokenizer = models.load(asked.model or model_folder(), dtype, asked.device)
        for name, way in product(asked.datasets, WAYS if model.device.type == "cuda" else ["rows"]):
            pairs = pairs_of(name, asked.candidates, asked.items)
            with torch.inference_mode(), mock.patch.object(scoring, "lay_out_for", lambda *_, way=way: WAYS[way]):
                found = row_of(model, tokenizer, pairs)
            rows.append({"data set": name, "dtype": dtype, "device": str(model.device), "attention": way, **found})
            show(rows[-1:])
        del model
    show(rows)
    write("on_gpu", {"rows": rows})


def row_of(model: Any, tokenizer: Any, pairs: Pairs) -> dict[str, Any]:
    """The numbers of one data set."""
    groups = pairs.groups(tokenizer)
    few = groups[0][:CHECKED]
    alone, padded = plain(model, few, 1), plain(model, few, len(few))
    ours = np.concatenate(scoring.score(model, few, LADDER[0]))
    length = min(LADDER, key=lambda tokens: seconds(lambda: scoring.score(model, groups[0], tokens), ROUNDS))
    forget_peak(model)
    work = partial(score_all, model, tokenizer, pairs, length)
    taken = seconds(work, ROUNDS)
    return {
        "tokens at once": length,
        "nats": float(np.abs(ours - alone).max()),
        "nats of padding": float(np.abs(padded - alone).max()),
        "tokens/s": sum(map(computed_tokens, groups)) / taken,
        "limit": limit_seconds(model, groups, length) / taken,
        "in use": (computing if model.device.type == "cuda" else in_forward)(work) / taken,
        "MB": memory(model),
    }


def score_all(model: Any, tokenizer: Any, pairs: Pairs, length: int) -> None:
    """Score all pairs as the score matrix does, some candidates at a time."""
    all_of = pairs.demonstrations
    parts = (all_of[first : first + TOGETHER] for first in range(0, len(all_of), TOGETHER))
    for groups in ahead(replace(pairs, demonstrations=part).groups(tokenizer) for part in parts):
        scoring.score_groups(model, groups, length)


def computing(work: Callable[[], Any]) -> float:
    """Seconds in which a GPU computes or copies; from a profile, which slows all else down."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
    return sum(event.self_device_time_total for event in found.key_averages()) * 1e-6


def in_forward(work: Callable[[], Any]) -> float:
    """Seconds that a CPU spends in forward passes."""
    used: list[float] = []
    with mock.patch.object(scoring, "_forward", timed(scoring._forward, used)):
        work()
    return sum(used)


def plain(model: Any, prompts: Sequence[Prompt], together: int) -> np.ndarray:
    """Log probability in nats of every continuation, by passes over whole sequences, `together` prompts in each."""
    found = []
    for start in range(0, len(prompts), together):
        asked = [(p.context, c) for p in prompts[start : start + together] for c in p.continuations]
        longest = max(len(context) + len(continuation) for context, continuation in asked)
        for part in [asked] if together > 1 else [[one] for one in asked]:
            width = longest if together > 1 else len(part[0][0]) + len(part[0][1])
            tokens = torch.zeros(len(part), width, dtype=torch.int64)
            for row, (context, continuation) in zip(tokens, part, strict=True):
                row[: len(context) + len(continuation)] = torch.tensor([*context, *continuation])
            logprobs = model(input_ids=tokens.to(model.device)).logits.float().log_softmax(dim=-1)
            for row, (context, continuation) in zip(logprobs, part, strict=True):
                places = range(len(context) - 1, len(context) + len(continuation) - 1)
                found.append(float(row[list(places), continuation].sum()))
    return np.array(found)


def timed(forward: Any, used: list[float]) -> Any:
    """`forward`, with the seconds of each call, which ends when its scores are back, in `used`."""

    def run(*arguments: Any) -> Any:
        started = time.perf_counter()
        result = forward(*arguments)
        used.append(time.perf_counter() - started)
        return result

    return run


def forget_peak(model: Any) -> None:
    """Begin to measure a GPU's memory anew."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)


def memory(model: Any) -> float:
    """Most memory in MB that was held."""
    return torch.cuda.max_memory_allocated(model.device) / 1e6 if model.device.type == "cuda" else peak_memory()


if __name__ == "__main__":
    main()
