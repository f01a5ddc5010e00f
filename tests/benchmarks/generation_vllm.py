"""New tokens a second of vLLM, for generation.py; runs in an environment that has vLLM and nothing of iclscope."""

import json
import sys
import time
from pathlib import Path

from vllm import LLM, SamplingParams


def main() -> None:
    """Read model, prompts (token ids) and the length of answers from a JSON file; print the rate as JSON."""
    task = json.loads(Path(sys.argv[1]).read_text())
    engine = LLM(task["model"], dtype="float32", enable_prefix_caching=True, max_model_len=1024)
    settings = SamplingParams(temperature=0, max_tokens=task["new"])
    prompts = [{"prompt_token_ids": ids} for ids in task["prompts"]]
    engine.generate(prompts[:4], settings)
    start = time.perf_counter()
    made = sum(len(one.outputs[0].token_ids) for one in engine.generate(prompts, settings))
    sys.stdout.write(json.dumps({"rate": made / (time.perf_counter() - start)}) + "\n")


if __name__ == "__main__":
    main()
