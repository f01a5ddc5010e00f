"""vLLM as a process that stays up; runs in an environment that has vLLM and nothing of iclscope.

Its arguments are a model folder and a dtype. Every line of its input is a round, as JSON, and is answered by a line:
`score` holds groups of prompts as [context, continuations] in token ids, `generate` contexts and `new` how many tokens
follow.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from vllm import LLM, SamplingParams

BLOCK = 32  # tokens of a cached block; vLLM's own 128 on a processor are longer than a demonstration

# The prompt's own log probabilities, but not of what the cache holds; of those tokens no number can be made into text.
OF_PROMPT = {"prompt_logprobs": 0, "max_tokens": 1, "temperature": 0, "detokenize": False}


def ask(engine: LLM, sequences: list[list[int]], settings: list[SamplingParams]) -> list[Any]:
    """What vLLM makes of sequences of token ids."""
    return engine.generate([{"prompt_token_ids": ids} for ids in sequences], settings, use_tqdm=False)


def score(engine: LLM, prompts: list[Any]) -> list[list[float]]:
    """Log probability in nats of every continuation: of a single token behind the context, of more within a prompt."""
    if all(len(continuation) == 1 for _, continuations in prompts for continuation in continuations):
        listed = [sorted({token for (token,) in continuations}) for _, continuations in prompts]
        settings = [SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=tokens) for tokens in listed]
        found = [one.outputs[0].logprobs[0] for one in ask(engine, [context for context, _ in prompts], settings)]
        return [
            [at[t].logprob for (t,) in continuations] for at, (_, continuations) in zip(found, prompts, strict=True)
        ]
    pairs = [(context, continuation) for context, continuations in prompts for continuation in continuations]
    sums = iter(score_long(engine, pairs, cached=True))
    return [[next(sums) for _ in continuations] for _, continuations in prompts]


def score_long(engine: LLM, pairs: list[Any], cached: bool) -> list[float]:
    """Log probabilities of a continuation each; where the cache hides a part of one, it is computed anew."""
    settings = SamplingParams(skip_reading_prefix_cache=not cached, **OF_PROMPT)
    answers = ask(engine, [context + continuation for context, continuation in pairs], [settings] * len(pairs))
    hidden = [i for i, answer in enumerate(answers) if answer.num_cached_tokens >= len(pairs[i][0])]
    anew = dict(zip(hidden, score_long(engine, [pairs[i] for i in hidden], False), strict=True)) if hidden else {}
    return [
        anew[i] if i in anew else sum(answer.prompt_logprobs[len(c) + k][token].logprob for k, token in enumerate(rest))
        for i, (answer, (c, rest)) in enumerate(zip(answers, pairs, strict=True))
    ]


def generate(engine: LLM, contexts: list[list[int]], new: int) -> list[list[int]]:
    """Greedy answers of up to `new` tokens."""
    settings = SamplingParams(temperature=0, max_tokens=new)
    return [list(one.outputs[0].token_ids) for one in ask(engine, contexts, [settings] * len(contexts))]


def answered(engine: LLM, work: Callable[[], Any]) -> dict[str, Any]:
    """What a round gives, with seconds of the clock and of the processor; it begins with an empty cache."""
    engine.reset_prefix_cache()
    start, spent = time.perf_counter(), time.process_time()
    found = work()
    return {"found": found, "seconds": time.perf_counter() - start, "processor": time.process_time() - spent}


def main() -> None:
    """Answer rounds until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM logs to standard output
    model, dtype = sys.argv[1:]
    engine = LLM(model, dtype=dtype, enable_prefix_caching=True, block_size=BLOCK, max_model_len=2048)
    for line in sys.stdin:
        task = json.loads(line)
        if "score" in task:
            prompts = [prompt for group in task["score"] for prompt in group]
            answer = answered(engine, lambda prompts=prompts: score(engine, prompts))
        else:
            answer = answered(engine, lambda task=task: generate(engine, task["generate"], task["new"]))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
