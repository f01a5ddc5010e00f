"""Blocks by a serving engine: the same as by the embedded one, made only where the server has the study's model."""

import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import completions_server
from completions_server import CompletionsServer
from iclscope.engine import serving
from iclscope.matrix import engines, evaluation, gather
from iclscope.matrix.blocks import Block
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import EVALUATION
from shot_studies import CHOICE, GENERATED, Study
from tiny import build_model, build_tokenizer

PAIRS = Block((0, 3), (0, 5))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(serving, "WAITS", (0.0,))


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """One with choices and one with generated answers."""
    kinds = {"choices": CHOICE, "generated": GENERATED}
    return {
        kind: Study(tmp_path_factory.mktemp(kind), build_model("llama"), build_tokenizer(), task)
        for kind, task in kinds.items()
    }


@pytest.fixture
def choices(studies):
    return studies["choices"]


@pytest.fixture
def generated(studies):
    return studies["generated"]


@pytest.fixture
def stub(tiny_model, tiny_tokenizer):
    with CompletionsServer(tiny_model, tiny_tokenizer) as server:
        yield server
        server.shutdown()


def served(study, engine, output, **model):
    """A block by an engine, given as the setting or a server's address; model: what is unlike the study's."""
    engine = engine if "name" in engine else {"name": "server", "url": engine}
    evaluation.run_block(
        pool=study.folder / "pool.parquet",
        model=study.model._replace(**model),
        task=study.task,
        block=PAIRS,
        settings={"max_new_tokens": None, "batch_tokens": "auto", "engine": engine},
        block_out=output,
        job=Job(1, {"seed": 1}),
    )
    return EVALUATION.read(output), read_provenance(output)


VLLM = """\
#!{python}
import os, sys, threading
sys.path[:0] = {path}
assert sys.argv[1:3] == ["-m", "vllm.entrypoints.openai.api_server"] and "PYTHONPATH" not in os.environ
options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
assert [options[name] for name in ("--dtype", "--host", "--block-size")] == ["float32", "127.0.0.1", "32"]
from transformers import AutoModelForCausalLM, AutoTokenizer
from completions_server import CompletionsServer
model, tokenizer = (kind.from_pretrained(options["--model"]) for kind in (AutoModelForCausalLM, AutoTokenizer))
server = CompletionsServer(model, tokenizer, int(options["--port"]))
server.names = [options["--served-model-name"]]
open({note!r}, "w").write(str(os.getpid()))
threading.Event().wait()
"""


def interpreter(folder, script):
    """A program that is called as Python is."""
    path = folder / "python"
    path.write_text(script)
    path.chmod(0o755)
    return {"name": "vllm", "python": str(path)}


def test_vllm_is_started_for_a_block_and_ends_with_it(choices, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "of the job")
    note = tmp_path / "note"
    script = VLLM.format(python=sys.executable, path=[str(Path(completions_server.__file__).parent)], note=str(note))
    found, made = served(choices, interpreter(tmp_path, script), tmp_path / "block.parquet")
    assert made["engine"] == {"name": "vllm", "version": "0.32.0"}
    for mine, theirs in zip(found["logprobs"], embedded(choices)["logprobs"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


DIES = """\
answer = server.answer
server.answer = lambda path, body: answer(path, body) if path == "/health" else (print("no memory"), os._exit(1))
sys.stdout.reconfigure(write_through=True)
threading.Event().wait()
"""


def test_what_vllm_said_before_it_died_is_in_the_log(choices, tmp_path, caplog):
    path = [str(Path(completions_server.__file__).parent)]
    script = VLLM.replace("threading.Event().wait()\n", DIES)
    script = script.format(python=sys.executable, path=path, note=str(tmp_path / "note"))
    with pytest.raises(StudyError, match=r"^evaluation\.engine\.python: \S+ cannot be reached"):
        served(choices, interpreter(tmp_path, script), tmp_path / "block.parquet")
    assert "no memory" in caplog.text


def test_an_interpreter_without_vllm_is_named(choices, tmp_path):
    without = interpreter(tmp_path, "#!/bin/sh\necho starting\necho No module named vllm >&2\nexit 1\n")
    with pytest.raises(StudyError, match=r"^evaluation\.engine\.python: vLLM does not start \(No module named vllm\)"):
        served(choices, without, tmp_path / "block.parquet")
    missing = {"name": "vllm", "python": str(tmp_path / "missing")}
    with pytest.raises(StudyError, match=r"^evaluation\.engine\.python: .*missing cannot be run .*that has vLLM$"):
        served(choices, missing, tmp_path / "block.parquet")


SAID = """\
WARNING 11-26 22:05:44 [system_utils.py:255] This can cause errors like `OSError: [Errno 24] Too many open files`.
(Worker pid=3) ERROR 11-26 22:06:57 [multiproc_executor.py:953] Traceback (most recent call last):
(Worker pid=3) ERROR 11-26 22:06:57 [multiproc_executor.py:953] ValueError: Available memory on node 0 is less
(EngineCore pid=2) ERROR 11-26 22:07:03 [core.py:1510] Exception: WorkerProc initialization failed
RuntimeError: Engine core initialization failed. See root cause above.
"""


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (SAID, "ValueError: Available memory on node 0 is less"),
        ("Traceback:\nRuntimeError: no GPU\nexiting", "RuntimeError: no GPU"),
        ("", "exit status 1"),
    ],
)
def test_of_what_vllm_says_when_it_does_not_start_the_first_error_is_told(choices, tmp_path, said, cause):
    (tmp_path / "said").write_text(said)
    python = interpreter(tmp_path, f"#!/bin/sh\ncat {tmp_path}/said\nexit 1\n")
    with pytest.raises(StudyError, match=rf"^evaluation\.engine\.python: vLLM does not start \({cause}\); the log has"):
        served(choices, python, tmp_path / "block.parquet")


def test_vllm_shares_a_processor_unless_its_user_says_how(monkeypatch):
    names = ("VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_USE_AOT_COMPILE")
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "40")
    found = serving._environment(torch.device("cpu"))
    assert [found[name] for name in names] == ["40", "nobind", "0"]
    assert not {*names[1:]} & set(serving._environment(torch.device("cuda", 0)))


def test_vllm_has_the_gpu_of_its_job_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    assert serving._environment(torch.device("cuda", 1))["CUDA_VISIBLE_DEVICES"] == "GPU-abc"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert serving._environment(torch.device("cuda", 1))["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in serving._environment(torch.device("cpu"))


def embedded(study):
    """The block by the embedded engine."""
    whole = EVALUATION.read(study.files["evaluation"])
    return whole.filter(pl.col("candidate") < PAIRS.candidates[1], pl.col("item") < PAIRS.items[1])


@pytest.mark.parametrize("kind", ["choices", "generated"])
def test_a_block_is_that_of_the_embedded_engine(studies, kind, stub, tmp_path):
    study = studies[kind]
    found, made = served(study, {"tiny": stub.address}, tmp_path / "block.parquet")
    wanted = embedded(study)
    same = ["candidate", "item", "correct", "correct_norm", "text", "scores", "prompt_tokens"]
    assert found.select(same).equals(wanted.select(same))
    for mine, theirs in zip(found["logprobs"], wanted["logprobs"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    assert made["engine"] == {"name": "vllm", "version": "0.32.0"}
    assert "engine" not in read_provenance(study.files["evaluation"])


@pytest.mark.parametrize("kind", ["choices", "generated"])
def test_no_pair_goes_to_a_server_of_another_model(studies, kind, stub, tmp_path):
    stub.model = build_model("llama")
    stub.model.model.layers[1].mlp.down_proj.weight += 0.02
    with pytest.raises(
        StudyError,
        match=r"^evaluation\.engine\.url: http\S+ gives log probabilities that differ by up to [\d.e+-]+ nats from "
        r"those of models\.tiny, where rounding explains 0\.02; serve that very model and revision, unquantised and in "
        r"float32, or take evaluation\.engine out$",
    ):
        served(studies[kind], stub.address, tmp_path / "block.parquet")
    assert len(stub.bodies) == 2
    assert not (tmp_path / "block.parquet").exists()


def test_a_server_to_which_tokens_mean_something_else_is_refused(choices, stub, tmp_path):
    order = torch.randperm(stub.model.config.vocab_size, generator=torch.Generator().manual_seed(0))
    stub.model = build_model("llama")
    stub.model.model.embed_tokens.weight.copy_(stub.model.model.embed_tokens.weight[order])
    with pytest.raises(StudyError, match=r"gives log probabilities that differ by up to"):
        served(choices, stub.address, tmp_path / "block.parquet")


def test_a_server_that_would_end_answers_by_another_tokenizer_is_refused(generated, stub, tmp_path):
    stub.tokenizer = build_tokenizer()
    stub.tokenizer.decode = lambda tokens, **_: "".join(chr(65 + token % 26) for token in tokens)
    with pytest.raises(
        StudyError, match=r"takes tokens for '[A-Z]+' that are '.*' to models\.tiny; serve the model with"
    ):
        served(generated, stub.address, tmp_path / "block.parquet")


def test_bfloat16_may_differ_by_what_rounding_explains(choices, stub, tmp_path):
    stub.model = build_model("llama").to(torch.bfloat16)
    served(choices, stub.address, tmp_path / "block.parquet", dtype="bfloat16")

    def lowered(choice):
        first, *others = choice["logprobs"]["token_logprobs"]
        return choice | {"logprobs": {"token_logprobs": [first, *(value - 0.7 for value in others)]}}

    stub.change = lowered
    with pytest.raises(StudyError, match=r"where rounding explains 0\.\d+; serve .* and in bfloat16"):
        served(choices, stub.address, tmp_path / "other.parquet", dtype="bfloat16")


def test_a_server_is_checked_on_the_cpu(choices, stub, tmp_path, monkeypatch):
    devices, load = [], engines.models.load
    monkeypatch.setattr(engines.models, "load", lambda *model: devices.append(model[2]) or load(*model))
    served(choices, stub.address, tmp_path / "block.parquet", device="cuda")
    assert devices == ["cpu"]


def test_blocks_of_two_engines_are_never_gathered(choices, stub, tmp_path):
    first, second, whole = (tmp_path / f"{name}.parquet" for name in ("first", "second", "whole"))
    frame, _ = served(choices, stub.address, first)
    inputs = {"pool": "0a", "model": "0b"}
    settings = {"task": "animals", "max_new_tokens": None, "engine_name": "server"}

    def write(path, candidates, version):
        engine = {"engine": {"name": "vllm", "version": version}}
        made = {"inputs": inputs, "settings": settings, "dtype": "float32"}
        EVALUATION.write(frame.filter(pl.col("candidate").is_in(candidates)), path, made | engine)

    def gather_both():
        gather.run(
            blocks=[first, second],
            origin=gather.Origin("pool", "model", [], settings, "float32"),
            features=None,
            settings={"candidates": 3, "items": 5},
            evaluation_out=whole,
            job=Job(1, {"inputs": inputs}),
        )

    write(first, [-1, 0], "0.31.0")
    write(second, [1, 2], "0.32.0")
    with pytest.raises(
        StudyError, match=r"first\.parquet was made by vllm 0\.31\.0, .*d\.parquet by vllm 0\.32\.0; delete"
    ):
        gather_both()
    write(second, [1, 2], "0.31.0")
    gather_both()
    assert read_provenance(whole)["engine"] == {"name": "vllm", "version": "0.31.0"}
