"""Whether a device waits for its work: what laying out a token costs, and how long a stub device is in use.

PYTHONPATH=workflow/scripts:tests python tests/benchmarks/starvation.py [--microseconds 20]

The stub sleeps for every token of a batch instead of computing, as long as a model of three billion parameters takes on
a fast GPU. Prompts are of random words, in the shapes of data sets of the paper; some candidates are scored at a time,
as in a block of the score matrix. A minute on two cores.
"""

import argparse
import random
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from transformers import DynamicCache

from iclscope.engine import scoring
from iclscope.engine.attention.blocks import lay_in_blocks
from iclscope.engine.attention.rows import lay_in_rows
from iclscope.engine.packing import Batch, computed_tokens, pack, shared_length
from iclscope.engine.prompts import Prompt, PromptEncoder
from iclscope.engine.transfers import Arriving
from iclscope.runtime.prefetch import ahead
from tiny import build_model, build_tokenizer

SHAPES = {  # items, words of a question, choices, words of a choice; a word is about four tokens
    "BoolQ": (200, 50, 2, 1),
    "ARC-Challenge": (300, 12, 4, 3),
    "OpenBookQA": (300, 6, 4, 2),
}
CANDIDATES, TOGETHER = 24, 8
PACK = 3072


def main() -> None:
    """Print a row per shape."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--microseconds", type=float, default=20)
    pause = arguments.parse_args().microseconds * 1e-6
    model, encoder = build_model("llama"), PromptEncoder(build_tokenizer())
    print(f"{'shape':15} tokens/candidate  µs/token: encode  pack  rows  blocks   in use  in use without a thread")
    for name, shape in SHAPES.items():
        groups = list(texts(*shape))
        prompts, encoding = timed(lambda: [encoder.encode(*group) for group in groups])  # noqa: B023
        batches, packing = timed(lambda: [batch for group in prompts for batch in packed(group)])  # noqa: B023
        _, laying = timed(lambda: [lay_in_rows(batch) for batch in batches])  # noqa: B023
        tokens = computed_tokens(prompts[0])
        _, laying_blocks = timed(lambda: [lay_in_blocks(batch) for batch in batches])  # noqa: B023
        everything = sum(len(batch.tokens) for batch in batches)
        costs = "  ".join(f"{1e6 * one / everything:4.2f}" for one in (encoding, packing, laying, laying_blocks))
        shares = [in_use(model, encoder, groups, pause, how) for how in (ahead, iter)]
        print(f"{name:15} {tokens:16}            {costs}    {shares[0]:5.1%}   {shares[1]:5.1%}")


def texts(items: int, words: int, choices: int, answer: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield a prefix per candidate, with the items behind it."""
    rng = random.Random(items)

    def sentence(length: int) -> str:
        return " ".join(rng.choice(("whale", "trout", "bat", "eagle", "frog", "lake")) for _ in range(length))

    rows = [
        {
            "question": f"{sentence(rng.randrange(words // 2, words * 3 // 2))}\nAnswer:",
            "target_delimiter": " ",
            "choices": [sentence(answer) for _ in range(choices)],
        }
        for _ in range(items)
    ]
    for _ in range(CANDIDATES):
        yield f"{sentence(words)}\nAnswer: {sentence(answer)}\n\n", rows


def packed(prompts: list[Prompt]) -> Iterator[Batch]:
    """The batches of a candidate."""
    return pack(prompts, shared_length([prompt.context for prompt in prompts]), PACK)


def timed(work: Any) -> tuple[Any, float]:
    """The result, and the CPU seconds of all threads."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def in_use(model: Any, encoder: PromptEncoder, groups: Any, pause: float, how: Any) -> float:
    """Share of the time in which the stub is in use while all candidates are scored."""
    used = 0.0

    def stub(_: Any, __: Any, batch: Batch, ___: Any) -> scoring.Pass:
        nonlocal used
        started = time.perf_counter()
        time.sleep(pause * len(batch.tokens))
        used += time.perf_counter() - started
        return scoring.Pass(Arriving(torch.zeros(len(batch.wanted))), torch.empty(0), torch.empty(0), DynamicCache())

    with mock.patch.object(scoring, "_forward", stub), mock.patch.object(scoring, "ahead", how):
        started = time.perf_counter()
        parts = (groups[first : first + TOGETHER] for first in range(0, CANDIDATES, TOGETHER))
        for few in how([encoder.encode(*group) for group in part] for part in parts):
            scoring.score_groups(model, few, PACK)
        return used / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
