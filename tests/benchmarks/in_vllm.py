"""Seconds that vLLM takes for prompts; runs in an environment that has vLLM and nothing of iclscope."""

import json
import sys
import time
from pathlib import Path

from vllm import LLM, SamplingParams


def main() -> None:
    """Read model, prompts (token ids), dtype and new tokens from a JSON file; print seconds and tokens made as JSON.

    Without new tokens the prompts' own log probabilities are asked for, as when choices are scored.
    """
    task = json.loads(Path(sys.argv[1]).read_text())
    engine = LLM(task["model"], dtype=task["dtype"], enable_prefix_caching=True, max_model_len=2048)
    settings = SamplingParams(temperature=0, max_tokens=task["new"] or 1, prompt_logprobs=None if task["new"] else 0)
    prompts = [{"prompt_token_ids": ids} for ids in task["prompts"]]
    engine.generate(prompts[:4], settings)
    start = time.perf_counter()
    made = sum(len(one.outputs[0].token_ids) for one in engine.generate(prompts, settings))
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - start, "tokens": made}) + "\n")


if __name__ == "__main__":
    main()
