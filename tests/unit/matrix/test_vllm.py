"""Blocks by the real vLLM are those of the embedded engine. Runs only where an interpreter is named that has it:

ICLSCOPE_VLLM_PYTHON=~/vllm/bin/python python -m pytest tests/unit/matrix/test_vllm.py

On a processor vLLM compiles the model for some minutes first.
"""

import os

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from iclscope.engine import models
from iclscope.engine.serving import started
from iclscope.matrix import evaluation
from iclscope.matrix.blocks import Block
from iclscope.matrix.engines import AGREES
from iclscope.runtime.jobs import Job
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import EVALUATION
from shot_studies import CANDIDATES, CHOICE, GENERATED, ITEMS, Study

PYTHON = os.environ.get("ICLSCOPE_VLLM_PYTHON")
KINDS = {
    "a token": CHOICE | {"doc_to_choice": ["no", "yes", "fish"]},
    "tokens": CHOICE | {"doc_to_choice": ["no", "yes, it is a fish", "yes, it is a whale"]},
    "answers": GENERATED,
}

pytestmark = pytest.mark.skipif(not PYTHON, reason="ICLSCOPE_VLLM_PYTHON names no interpreter that has vLLM")


@pytest.fixture(scope="module")
def studies(embedded_folder, tmp_path_factory):
    """The default study's model with choices of one token, of several, and with generated answers."""
    model = AutoModelForCausalLM.from_pretrained(embedded_folder, dtype=torch.float32)
    tokenizer = models.load_tokenizer(embedded_folder)
    return {kind: Study(tmp_path_factory.mktemp("study"), model, tokenizer, task) for kind, task in KINDS.items()}


@pytest.fixture(scope="module")
def address(studies):
    folder = studies["tokens"].model.folder
    with started(PYTHON, folder, "float32", torch.device("cpu")) as address:
        yield address


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_by_the_real_vllm_is_that_of_the_embedded_engine(studies, address, kind, tmp_path):
    study, output = studies[kind], tmp_path / "block.parquet"
    evaluation.run_block(
        pool=study.folder / "pool.parquet",
        model=study.model,
        task=study.task,
        block=Block((0, CANDIDATES), (0, ITEMS)),
        settings={"max_new_tokens": None, "batch_tokens": "auto", "engine": {"name": "server", "url": address}},
        block_out=output,
        job=Job(1, {"seed": 1}),
    )
    found, wanted = EVALUATION.read(output), EVALUATION.read(study.files["evaluation"])
    same = ["candidate", "item", "correct", "correct_norm", "text", "scores", "prompt_tokens"]
    assert found.select(same).equals(wanted.select(same))
    for mine, theirs in zip(found["logprobs"], wanted["logprobs"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=AGREES)
    assert read_provenance(output)["engine"]["name"] == "vllm"
