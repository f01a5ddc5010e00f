"""Pairs of candidate and item a second: iclscope beside the evaluation harness and the machine's limit.

PYTHONPATH=workflow/scripts python tests/benchmarks/score_matrix.py [--datasets …] [--dtypes …] [--vllm PYTHON]

Same pairs, same run, multiple choice. The harness's `HFLM.loglikelihood` runs at batch size 1, as in the paper, and at
the best of BATCH_SIZES. Rows of results/benchmarks/score_matrix.json are replaced or added. Takes more than an hour on
two cores, or half an hour with `--harness-items 16`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM

import vllm_apart
from iclscope.engine import models
from iclscope.engine.batch_tokens import LADDER
from iclscope.engine.packing import computed_tokens
from iclscope.engine.prompts import Prompt
from iclscope.engine.scoring import score
from limits import limit_seconds
from record import peak_memory, read, seconds, show, write
from subjects import Pairs, model_folder, pairs_of

BATCH_SIZES = (1, 4, 8, 16, 32, 64)
CANDIDATES, ITEMS = 4, 64
PACK = LADDER[0]
GROWTH = ((4, 64), (4, 128), (4, 256), (8, 64), (16, 64))
SHARES = {  # of a profile, by the names of PyTorch's operations
    "matrix products": ("linear", "addmm", "mm"),
    "attention": ("scaled_dot_product",),
    "softmax of the head": ("logsumexp", "exp"),
}


def ours(model: Any, groups: Sequence[Sequence[Prompt]]) -> None:
    """Score all pairs."""
    with torch.inference_mode():
        for group in groups:
            score(model, group, PACK)


def harness(lm: HFLM, pairs: Pairs, items: int, batch_size: int) -> None:
    """Score the pairs of the first `items` as the evaluation harness does."""
    lm.batch_size_per_gpu = batch_size
    requests = []
    for demonstration in pairs.demonstrations:
        for document in pairs.documents[:items]:
            requests += pairs.task.construct_requests(document, pairs.prompt(demonstration, document))
    lm.loglikelihood(requests, disable_tqdm=True)


def compare(name: str, dtype: str, vllm: str | None, harness_items: int) -> dict[str, Any]:
    """One row of the table: pairs a second of each way."""
    pairs = pairs_of(name, CANDIDATES, ITEMS)
    model, tokenizer = models.load(model_folder(), dtype, "auto")
    groups = pairs.groups(tokenizer)
    ours(model, groups[:1])
    taken = seconds(lambda: ours(model, pairs.groups(tokenizer)), rounds=3)
    limit = limit_seconds(model, groups, PACK)
    plain = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=models.DTYPES[dtype]).to(model.device).eval()
    lm = HFLM(pretrained=plain, tokenizer=tokenizer, batch_size=1)
    tried = len(pairs.demonstrations) * harness_items
    rates = {size: tried / seconds(lambda size=size: harness(lm, pairs, harness_items, size)) for size in BATCH_SIZES}
    best = max(BATCH_SIZES, key=lambda size: rates[size])
    rate = pairs.number / taken
    others = {}
    if vllm:
        sequences = [p.context + c for group in groups for p in group for c in p.continuations]
        others["vLLM"] = pairs.number / vllm_apart.run(vllm, sequences, dtype)["seconds"]
    return {
        "data set": name,
        "dtype": dtype,
        "pairs/s": rate,
        "harness, batch 1": rates[1],
        "harness, best batch": rates[best],
        "best batch": best,
        "times batch 1": rate / rates[1],
        "times best": rate / rates[best],
        "tokens/s": sum(map(computed_tokens, groups)) / taken,
        "share of limit": limit / taken,
        **others,
    }


def where_the_time_goes(name: str, dtype: str) -> dict[str, Any]:
    """Shares of the time of scoring, from a profile."""
    pairs = pairs_of(name, 1, ITEMS)
    model, tokenizer = models.load(model_folder(), dtype, "auto")
    groups = pairs.groups(tokenizer)
    ours(model, groups)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        ours(model, groups)
    spent = {event.key: event.self_cpu_time_total for event in found.key_averages()}
    total = sum(spent.values())
    shares = {
        what: sum(time for key, time in spent.items() if any(word in key for word in words)) / total
        for what, words in SHARES.items()
    }
    return {"data set": name, "dtype": dtype, **shares, "all else": 1 - sum(shares.values())}


def grow(candidates: int, items: int) -> dict[str, Any]:
    """Seconds and peak memory for a matrix of this size, in this process."""
    pairs = pairs_of("openbookqa", candidates, items)
    model, tokenizer = models.load(model_folder(), "float32", "auto")
    groups = pairs.groups(tokenizer)
    taken = seconds(lambda: ours(model, groups))
    return {
        "candidates": candidates,
        "items": items,
        "seconds": taken,
        "ms/pair": 1e3 * taken / pairs.number,
        "MB": peak_memory(),
    }


def grow_apart(candidates: int, items: int) -> dict[str, Any]:
    """The same in a process of its own, whose peak memory is its own."""
    command = [sys.executable, __file__, "--grow", str(candidates), str(items)]
    result = subprocess.run(command, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, print tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", default=["openbookqa", "commonsenseqa", "boolq"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--parts", nargs="+", default=["compare", "profile", "growth"])
    parser.add_argument("--harness-items", type=int, default=ITEMS, help="items that the harness scores, to save time")
    parser.add_argument("--vllm", help="the Python of an environment that has vLLM")
    parser.add_argument("--grow", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.grow:
        sys.stdout.write(json.dumps(grow(*arguments.grow)) + "\n")
        return
    settings = [(name, dtype) for dtype in arguments.dtypes for name in arguments.datasets]
    results = read("score_matrix")
    for part in arguments.parts:
        if part == "growth":
            results[part] = [grow_apart(*size) for size in GROWTH]
        else:
            measure = {"compare": compare, "profile": where_the_time_goes}[part]
            more = (arguments.vllm, arguments.harness_items) if part == "compare" else ()
            kept = [row for row in results.get(part, []) if (row["data set"], row["dtype"]) not in settings]
            results[part] = [*kept, *(measure(*setting, *more) for setting in settings)]
        show(results[part])
        write("score_matrix", results)


if __name__ == "__main__":
    main()
