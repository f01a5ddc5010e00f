"""vLLM as an optional competitor: in a process of its own, with the Python of an environment that has it."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from subjects import model_folder

SCRIPT = Path(__file__).with_name("in_vllm.py")


def run(python: str, prompts: Sequence[Sequence[int]], dtype: str, new_tokens: int = 0) -> dict[str, float]:
    """Seconds for all prompts (token ids), and tokens made; without new tokens the prompts themselves are scored."""
    task = {"model": str(model_folder()), "prompts": prompts, "dtype": dtype, "new": new_tokens}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(task, file)
        file.flush()
        result = subprocess.run([python, str(SCRIPT), file.name], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(result.stdout.splitlines()[-1]))
