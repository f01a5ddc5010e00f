"""Pairs of candidate and item a second: iclscope beside the evaluation harness and the machine's limit.

PYTHONPATH=workflow/scripts python tests/benchmarks/score_matrix.py [--datasets …] [--vllm PYTHON] [--llama PYTHON]

Same pairs, same run, multiple choice. The harness's `HFLM.loglikelihood` runs at batch size 1, as in the paper, and at
the best of BATCH_SIZES. Rows of results/benchmarks/score_matrix.json are replaced or added. Takes more than an hour on
two cores, or half an hour with `--harness-items 16`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np
import torch
from lm_eval.models.huggingface import HFLM
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM

from apart import Apart, llama, vllm
from iclscope.engine import models
from iclscope.engine.batch_tokens import LADDER
from iclscope.engine.packing import computed_tokens
from iclscope.engine.prompts import Prompt
from iclscope.engine.scoring import score
from iclscope.runtime import devices
from limits import limit_seconds
from record import Cost, cost, in_turns, peak_memory, read, seconds, show, write
from subjects import Pairs, model_folder, pairs_of

BATCH_SIZES = (1, 4, 8, 16, 32, 64)
CANDIDATES, ITEMS = 4, 64
ROUNDS = 3
TRIED_ITEMS = 4  # by which the harness's best batch is found
PACK = LADDER[0]
GROWTH = ((4, 64), (4, 128), (4, 256), (8, 64), (16, 64))
SHARES = {  # of a profile, by the names of PyTorch's operations
    "matrix products": ("linear", "::addmm", "::mm"),
    "attention": ("scaled_dot_product", "::bmm", "::_softmax"),
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


def compare(name: str, dtype: str, others: Mapping[str, Apart], arguments: argparse.Namespace) -> dict[str, Any]:
    """One row of the table: pairs a second of each way, by the median of rounds in which they take turns."""
    pairs = pairs_of(name, CANDIDATES, arguments.items)
    model, tokenizer = models.load(model_folder(), dtype, "auto")
    groups = pairs.groups(tokenizer)
    ways = {"iclscope": lambda: cost(lambda: ours(model, pairs.groups(tokenizer)))}
    scored, more = {"iclscope": pairs.number}, {}
    if arguments.harness_items:
        tried, more["best batch"] = the_harness(pairs, tokenizer, dtype, arguments.harness_items)
        ways |= tried
        scored |= dict.fromkeys(tried, CANDIDATES * arguments.harness_items)
    for other, competitor in others.items():
        more[f"{other}, nats"] = agreement(model, groups, competitor)
        ways[other] = lambda competitor=competitor: competitor.score(groups)[1]
        scored[other] = pairs.number
    ours(model, groups[:1])
    costs = in_turns(ways, ROUNDS)
    rates = {way: scored[way] / median(one.seconds for one in costs[way]) for way in ways}
    theirs = [way for way in ways if way != "iclscope"]
    taken = pairs.number / rates["iclscope"]
    return {
        "data set": name,
        "dtype": dtype,
        "pairs/s": rates["iclscope"],
        **{way: rates[way] for way in theirs},
        **{f"times {way}": ratio(costs, scored, way, "seconds") for way in theirs},
        **{f"times {way}, processor": ratio(costs, scored, way, "processor") for way in theirs},
        "tokens/s": sum(map(computed_tokens, groups)) / taken,
        "share of limit": limit_seconds(model, groups, PACK) / taken,
        **more,
    }


def the_harness(pairs: Pairs, tokenizer: Any, dtype: str, items: int) -> tuple[dict[str, Callable[[], Cost]], int]:
    """The evaluation harness at batch size 1 and at the best one for the pairs of the first `items`; that size."""
    plain = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=models.DTYPES[dtype])
    plain = plain.to(devices.pick("auto")).eval()
    lm = HFLM(pretrained=plain, tokenizer=tokenizer, batch_size=1)
    best = min(BATCH_SIZES, key=lambda size: seconds(lambda: harness(lm, pairs, min(TRIED_ITEMS, items), size)))
    sizes = {"harness, batch 1": 1, "harness, best batch": best}
    return {way: lambda size=size: cost(lambda: harness(lm, pairs, items, size)) for way, size in sizes.items()}, best


def ratio(costs: Mapping[str, Sequence[Cost]], scored: Mapping[str, int], way: str, of: str) -> float:
    """How many times as many pairs iclscope scores in a second as another way: the median of the rounds' own ratios."""
    times = [
        getattr(theirs, of) / getattr(mine, of) for mine, theirs in zip(costs["iclscope"], costs[way], strict=True)
    ]
    return median(times) * scored["iclscope"] / scored[way]


def agreement(model: Any, groups: Sequence[Sequence[Prompt]], competitor: Apart) -> float:
    """The largest difference between our scores and a competitor's, in nats."""
    with torch.inference_mode():
        mine = [scores for group in groups for scores in score(model, group, PACK)]
    return float(np.abs(np.concatenate(mine) - np.concatenate(competitor.score(groups)[0])).max())


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


def measured(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of all data sets and dtypes; the competitors are started for every dtype."""
    named = {"vLLM": (vllm, arguments.vllm), "llama.cpp": (llama, arguments.llama)}
    rows = []
    for dtype in arguments.dtypes:
        with ExitStack() as open_ones:
            others = {
                name: open_ones.enter_context(start(python, dtype)) for name, (start, python) in named.items() if python
            }
            rows += [compare(name, dtype, others, arguments) for name in arguments.datasets]
    return rows


def main() -> None:
    """Measure, print tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", default=["openbookqa", "commonsenseqa", "boolq"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--parts", nargs="+", default=["compare", "profile", "growth"])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--harness-items", type=int, default=ITEMS, help="as many that the harness scores; 0: none")
    parser.add_argument("--vllm", help="the Python of an environment that has vLLM")
    parser.add_argument("--llama", help="the Python of an environment that has llama-cpp-python")
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
            kept = [row for row in results.get(part, []) if (row["data set"], row["dtype"]) not in settings]
            results[part] = kept + (
                measured(arguments) if part == "compare" else [where_the_time_goes(*s) for s in settings]
            )
        show(results[part])
        write("score_matrix", results)


if __name__ == "__main__":
    main()
