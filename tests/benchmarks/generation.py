"""New tokens a second of greedy generation: iclscope beside `model.generate` and the machine's limit.

PYTHONPATH=workflow/scripts python tests/benchmarks/generation.py [--vllm PYTHON]

ASDiv prompts after a demonstration, every answer NEW_TOKENS long unless the model ends it, prompts included in the
time. PYTHON is the interpreter of an environment of its own that has vLLM; without it that row is left out. Writes
results/benchmarks/generation.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from iclscope import models
from iclscope.generation import Stopping, generate
from iclscope.packing import Prompt
from limits import decoding_limit
from record import seconds, show, write
from subjects import model_folder, pairs_of

CANDIDATES, ITEMS, NEW_TOKENS = 3, 64, 32
ALONE = 12  # prompts that are answered one by one
BATCH_SIZES = (8, 16, 48, 96)
PACK = 512
VLLM = Path(__file__).with_name("generation_vllm.py")


def batched(model: Any, tokenizer: Any, prompts: list[Prompt], size: int) -> int:
    """Answer the prompts in left-padded batches with `model.generate`; the number of new tokens."""
    made = 0
    for start in range(0, len(prompts), size):
        contexts = [prompt.context for prompt in prompts[start : start + size]]
        longest = max(map(len, contexts))
        ids = torch.tensor([[0] * (longest - len(c)) + c for c in contexts], device=model.device)
        mask = torch.tensor([[0] * (longest - len(c)) + [1] * len(c) for c in contexts], device=model.device)
        end = tokenizer.eos_token_id
        settings = {"do_sample": False, "pad_token_id": end, "max_new_tokens": NEW_TOKENS}
        found = model.generate(ids, attention_mask=mask, **settings)[:, longest:]
        made += sum([*row.tolist(), end].index(end) + 1 for row in found)
    return min(made, NEW_TOKENS * len(prompts))


def rate(way: str, run: Any) -> dict[str, Any]:
    """New tokens a second of `run`, which returns how many it made."""
    made: list[int] = []
    taken = seconds(lambda: made.append(run()))
    return {"way": way, "new tokens/s": made[0] / taken}


def with_vllm(python: str, prompts: list[Prompt]) -> dict[str, Any]:
    """The same prompts in vLLM with prefix caching."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"model": str(model_folder()), "new": NEW_TOKENS, "prompts": [p.context for p in prompts]}, file)
        file.flush()
        result = subprocess.run([python, str(VLLM), file.name], stdout=subprocess.PIPE, text=True, check=True)
    return {"way": "vLLM, prefix caching", "new tokens/s": json.loads(result.stdout.splitlines()[-1])["rate"]}


def main() -> None:
    """Measure, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm")
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    model, tokenizer = models.load(model_folder(), arguments.dtype, "auto")
    groups = pairs_of("asdiv", CANDIDATES, ITEMS).groups(tokenizer)
    prompts = sorted((p for group in groups for p in group), key=lambda prompt: len(prompt.context))

    def ours() -> int:
        answers = generate(model, tokenizer, groups, PACK, Stopping((), NEW_TOKENS))
        return sum(len(answer.tokens) for group in answers for answer in group)

    rows = [rate("iclscope", ours)]
    limit = decoding_limit(model, PACK // 8)
    plain = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=models.DTYPES[arguments.dtype])
    plain = plain.to(model.device).eval()
    rows.append(rate("model.generate, one by one", lambda: batched(plain, tokenizer, prompts[:ALONE], 1)))
    for size in BATCH_SIZES:
        rows.append(rate(f"model.generate, batch {size}", lambda size=size: batched(plain, tokenizer, prompts, size)))
    if arguments.vllm:
        rows.append(with_vllm(arguments.vllm, prompts))
    rows.append({"way": "matrix products of decoding alone", "new tokens/s": limit})
    show(rows)
    write("generation", {"dtype": arguments.dtype, "new_tokens": NEW_TOKENS, "rows": rows})


if __name__ == "__main__":
    sys.exit(main())
