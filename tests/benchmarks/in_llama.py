"""llama.cpp as a process that stays up; runs in an environment that has llama-cpp-python and nothing of iclscope.

Its arguments are a GGUF file, a dtype and a number of threads. Every line of its input is a round, as JSON, and is
answered by a line: `score` holds groups of prompts that share a prefix, as [context, continuations] in token ids.

As llama.cpp is fastest: a tree of sequences, whose shared tokens stand in one cache once and belong to all of them.
"""

import ctypes
import json
import os
import sys
import time
from typing import Any

import llama_cpp as llama
import numpy as np

SEQUENCES = 256  # as many as llama.cpp knows
TOKENS = 512  # of a pass: attention reads the whole cache for each of them, and weights for all
CACHED = 4096


class Engine:
    """A loaded model with a cache."""

    def __init__(self, file: str, dtype: str, threads: int) -> None:
        llama.llama_backend_init()
        self._model = llama.llama_model_load_from_file(file.encode(), llama.llama_model_default_params())
        settings = llama.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = CACHED, CACHED, TOKENS, SEQUENCES
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = True
        if dtype == "float32":  # a cache of float16 otherwise
            settings.type_k = settings.type_v = llama.GGML_TYPE_F32
        self._context = llama.llama_init_from_model(self._model, settings)
        self._memory = llama.llama_get_memory(self._context)
        self._words = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        self._batch = llama.llama_batch_init(CACHED, 0, SEQUENCES)

    def score(self, prompts: list[Any]) -> list[list[float]]:
        """Log probabilities in nats of every continuation of prompts that share a prefix."""
        contexts = [context for context, _ in prompts]
        differ = (i for i, (a, b) in enumerate(zip(min(contexts), max(contexts), strict=False)) if a != b)
        shared = min(next(differ, len(min(contexts))), min(map(len, contexts)) - 1)
        llama.llama_memory_clear(self._memory, False)
        self._read([(contexts[0][i], i, range(SEQUENCES), False) for i in range(shared)])
        found, waiting = [[0.0] * len(continuations) for _, continuations in prompts], list(range(len(prompts)))
        while waiting:
            tokens, wanted, sequence = [], [], 0
            while waiting:
                context, continuations = prompts[waiting[0]]
                need = len(context) - shared + sum(len(one) - 1 for one in continuations)
                if tokens and (len(tokens) + need > TOKENS or sequence + len(continuations) > SEQUENCES):
                    break
                mine = range(sequence, sequence + len(continuations))
                tokens += [(context[i], i, mine, i == len(context) - 1) for i in range(shared, len(context))]
                end = len(tokens) - 1
                for k, (own, continuation) in enumerate(zip(mine, continuations, strict=True)):
                    wanted.append((end, continuation[0], waiting[0], k))
                    for step, token in enumerate(continuation[:-1]):
                        wanted.append((len(tokens), continuation[step + 1], waiting[0], k))
                        tokens.append((token, len(context) + step, (own,), True))
                sequence = mine.stop
                waiting.pop(0)
            self._read(tokens)
            totals: dict[int, tuple[np.ndarray, float]] = {}
            for place, token, prompt, k in wanted:
                if place not in totals:
                    logits = np.ctypeslib.as_array(
                        llama.llama_get_logits_ith(self._context, place), shape=(self._words,)
                    )
                    highest = logits.max()
                    totals[place] = logits, highest + np.log(np.exp(logits - highest).sum())
                logits, total = totals[place]
                found[prompt][k] += float(logits[token] - total)
            llama.llama_memory_seq_rm(self._memory, -1, shared, -1)
        return found

    def _read(self, tokens: list[Any]) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (token, position, sequences, predicts) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, predicts
            batch.n_seq_id[i] = len(sequences)
            for k, sequence in enumerate(sequences):
                batch.seq_id[i][k] = sequence
        if tokens and llama.llama_decode(self._context, batch):
            raise SystemExit("llama.cpp could not read a batch")


def main() -> None:
    """Answer rounds until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    silent = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    file, dtype, threads = sys.argv[1:]
    engine = Engine(file, dtype, int(threads))
    for line in sys.stdin:
        groups = json.loads(line)["score"]
        start, spent = time.perf_counter(), time.process_time()
        found = [scores for group in groups for scores in engine.score(group)]
        costs = {"seconds": time.perf_counter() - start, "processor": time.process_time() - spent}
        answers.write(json.dumps({"found": found, **costs}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
