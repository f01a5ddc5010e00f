"""New tokens a second of greedy generation: iclscope beside `model.generate` and the machine's limit.

PYTHONPATH=workflow/scripts python tests/benchmarks/generation.py [--vllm PYTHON]

ASDiv prompts after a demonstration, every answer NEW_TOKENS long unless the model ends it, prompts included in the
time. PYTHON is the interpreter of an environment of its own that has vLLM; without it that row is left out. Writes
results/benchmarks/generation.json.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM

import apart
from iclscope.engine import models
from iclscope.engine.batch_tokens import LADDER
from iclscope.engine.generation import Stopping, generate, slots_of
from iclscope.engine.prompts import Prompt
from limits import decoding_limit
from record import seconds, show, write
from subjects import model_folder, pairs_of

CANDIDATES, ITEMS, NEW_TOKENS = 3, 64, 32
ALONE = 24  # prompts that are answered one by one
BATCH_SIZES = (16, 48, 96)
PACK = LADDER[0]


def batched(model: Any, tokenizer: Any, prompts: list[Prompt], size: int) -> list[list[int]]:
    """New tokens of every prompt, by `model.generate` in left-padded batches."""
    answers = []
    for start in range(0, len(prompts), size):
        contexts = [prompt.context for prompt in prompts[start : start + size]]
        longest = max(map(len, contexts))
        ids = torch.tensor([[0] * (longest - len(c)) + c for c in contexts], device=model.device)
        mask = torch.tensor([[0] * (longest - len(c)) + [1] * len(c) for c in contexts], device=model.device)
        end = tokenizer.eos_token_id
        settings = {"do_sample": False, "pad_token_id": end, "max_new_tokens": NEW_TOKENS}
        found = model.generate(ids, attention_mask=mask, **settings)[:, longest:]
        answers += [row[: row.index(end) + 1] if end in row else row for row in found.tolist()]
    return answers


def rate(way: str, run: Callable[[], list[list[int]]]) -> tuple[dict[str, Any], list[list[int]]]:
    """New tokens a second of `run`, and the answers it returned."""
    answers: list[list[int]] = []
    taken = seconds(lambda: answers.extend(run()))
    return {"way": way, "new tokens/s": sum(map(len, answers)) / taken}, answers


def main() -> None:
    """Measure, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm")
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    model, tokenizer = models.load(model_folder(), arguments.dtype, "auto")
    groups = pairs_of("asdiv", CANDIDATES, ITEMS).groups(tokenizer)
    prompts = [prompt for group in groups for prompt in group]

    def ours() -> list[list[int]]:
        answers = generate(model, tokenizer, groups, PACK, Stopping((), NEW_TOKENS))
        return [answer.tokens for group in answers for answer in group]

    row, answers = rate("iclscope", ours)
    rows, limit = [row], decoding_limit(model, slots_of(PACK))
    plain = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=models.DTYPES[arguments.dtype])
    plain = plain.to(model.device).eval()
    row, alone = rate("model.generate, one by one", lambda: batched(plain, tokenizer, prompts[:ALONE], 1))
    rows.append(row)
    identical = sum(one == other for one, other in zip(answers, alone, strict=False)) / ALONE
    by_length = sorted(prompts, key=lambda prompt: len(prompt.context))
    for size in BATCH_SIZES:
        way = f"model.generate, batch {size}"
        rows.append(rate(way, lambda size=size: batched(plain, tokenizer, by_length, size))[0])
    if arguments.vllm:
        with apart.vllm(arguments.vllm, arguments.dtype) as vllm:
            contexts = [prompt.context for prompt in prompts]
            vllm.generate(contexts[:ALONE], NEW_TOKENS)
            found, taken = vllm.generate(contexts, NEW_TOKENS)
        rows.append({"way": "vLLM, prefix caching", "new tokens/s": sum(map(len, found)) / taken.seconds})
    rows.append({"way": "matrix products of decoding alone", "new tokens/s": limit})
    show(rows)
    sys.stdout.write(f"{identical:.1%} of {ALONE} answers are those of decoding one by one\n")
    write("generation", {"dtype": arguments.dtype, "new_tokens": NEW_TOKENS, "identical": identical, "rows": rows})


if __name__ == "__main__":
    sys.exit(main())
