"""vLLM as an optional competitor: in a process of its own, with the Python of an environment that has it."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iclscope.engine.cpu import KEPT
from iclscope.engine.prompts import Prompt
from record import Cost
from subjects import model_folder

SCRIPT = Path(__file__).with_name("in_vllm.py")

# One process, so that its processor time is all there is; room for the cache in GB; a compiled model of an earlier run
# is found again, which vLLM 0.32 on a processor fails at where it compiles ahead of time; and memory that glibc keeps,
# as iclscope has it keep its own.
SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_USE_AOT_COMPILE": "0",
    "MALLOC_MMAP_THRESHOLD_": str(KEPT),
    "MALLOC_TRIM_THRESHOLD_": str(KEPT),
}


class VLLM:
    """A vLLM that waits for work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def score(self, groups: Sequence[Sequence[Prompt]]) -> tuple[list[np.ndarray], Cost]:
        """Log probability in nats of every continuation, float32 [continuations] each, and what they cost."""
        prompts = [(prompt.context, prompt.continuations) for group in groups for prompt in group]
        found, cost = self._ask({"score": prompts})
        return [np.array(scores, dtype=np.float32) for scores in found], cost

    def generate(self, contexts: Sequence[Sequence[int]], new: int) -> tuple[list[list[int]], Cost]:
        """Greedy answers of up to `new` tokens, and what they cost."""
        return self._ask({"generate": contexts, "new": new})

    def _ask(self, task: Any) -> tuple[Any, Cost]:
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("vLLM ended; what it said stands above")
        answer = json.loads(line)
        return answer["found"], Cost(answer["seconds"], answer["processor"])


@contextmanager
def started(python: str, dtype: str) -> Iterator[VLLM]:
    """vLLM with the default study's model, on as many threads as PyTorch has here; it ends with the block."""
    environment = os.environ | SETTINGS | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    environment.pop("PYTHONPATH", None)
    command = [python, str(SCRIPT), str(model_folder()), dtype]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        yield VLLM(process)
