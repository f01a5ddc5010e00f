"""What the engine does on this machine's device, in one table: exactness, speed, share of the limit, waiting, memory.

PYTHONPATH=workflow/scripts:tests python tests/benchmarks/on_gpu.py [--model FOLDER] [--device cuda] [--dtypes …]

For whoever has a card; it runs on a CPU too. Per data set and dtype:

- nats: largest difference of a log probability from one pass of the model over that prompt alone, and of such passes
  from those padded to the length of all, which is what transformers differs by from itself;
- tokens/s: prompt tokens a second, of all candidates × items, each token that prompts share counted once;
- limit: that rate over the one at which nothing but the matrix products of these tokens would be computed;
- in use: share of the time in which the device works on a batch, while others are encoded and laid out;
- MB: the most memory that the device held, of a CPU the process.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from iclscope.engine import models, scoring
from iclscope.engine.batch_tokens import LADDER
from iclscope.engine.packing import computed_tokens
from iclscope.engine.prompts import Prompt
from iclscope.runtime.prefetch import ahead
from limits import limit_seconds
from record import peak_memory, seconds, show, write
from subjects import Pairs, model_folder, pairs_of

CHECKED = 16  # prompts whose log probabilities are compared
ROUNDS = 3


def main() -> None:
    """Print the table and write results/benchmarks/on_gpu.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a prepared model: resources/models/NAME of a study")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--datasets", nargs="+", default=["openbookqa", "commonsenseqa", "boolq"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--items", type=int, default=64)
    asked = parser.parse_args()
    rows = []
    for dtype in asked.dtypes:
        model, tokenizer = models.load(asked.model or model_folder(), dtype, asked.device)
        for name in asked.datasets:
            with torch.inference_mode():
                rows.append(row_of(model, tokenizer, pairs_of(name, asked.candidates, asked.items)))
            rows[-1] = {"data set": name, "dtype": dtype, "device": str(model.device), **rows[-1]}
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
    used: list[float] = []
    with mock.patch.object(scoring, "_forward", timed(scoring._forward, used)):
        started = time.perf_counter()
        for prompts in ahead(pairs.groups(tokenizer)):
            scoring.score(model, prompts, length)
        taken = time.perf_counter() - started
    return {
        "tokens at once": length,
        "nats": float(np.abs(ours - alone).max()),
        "nats of padding": float(np.abs(padded - alone).max()),
        "tokens/s": sum(map(computed_tokens, groups)) / taken,
        "limit": limit_seconds(model, groups, length) / taken,
        "in use": sum(used) / taken,
        "MB": memory(model),
    }


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
