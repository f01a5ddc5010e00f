"""Questions as vectors: what a plain pass of transformers gives, whatever their answers are."""

import json
import logging

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from iclscope.activations import representations
from iclscope.activations.representations import Files, layers_of
from iclscope.engine.prompts import DemonstrationTokens, PromptEncoder, encode_question, zero_shot_prompts
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.tables import POOL, REPRESENTATIONS, SAMPLE
from iclscope.tasks import harness
from iclscope.tasks.pool import make_pool
from shot_studies import CHOICE, rows_of
from tiny import build_tokenizer

KINDS = ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"]


def questions(count=9, seed=0):
    rng = np.random.default_rng(seed)
    return [DemonstrationTokens(rng.integers(2, 400, n).tolist(), (1, n), (0, 0)) for n in rng.integers(6, 24, count)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_tokens", [16, 2048])
def test_equal_a_plain_pass_per_row(kind, batch_tokens, tiny_model_of):
    model = tiny_model_of(kind)
    found = representations.read(model, questions(), [0, 1, 3], batch_tokens)
    for i, tokens in enumerate(questions()):
        states = model(torch.tensor([tokens.ids]), output_hidden_states=True).hidden_states
        for place, layer in enumerate((0, 1, 3)):
            mean, last = states[layer][0, slice(*tokens.question)].mean(dim=0), states[layer][0, -1]
            np.testing.assert_allclose(found["mean_vector"][place, i], mean, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found["last_vector"][place, i], last, rtol=1e-4, atol=1e-5)


def test_the_last_layer_has_passed_the_last_norm(tiny_model):
    tokens = questions(1)
    state = tiny_model.get_decoder()(torch.tensor([tokens[0].ids])).last_hidden_state[0, -1]
    np.testing.assert_allclose(representations.read(tiny_model, tokens, [3], 64)["last_vector"][0, 0], state, rtol=1e-4)


@pytest.mark.parametrize("tokenizer", [build_tokenizer(), build_tokenizer(bos=True), build_tokenizer(joining=True)])
@pytest.mark.parametrize("description", ["", "Answer.\n\n"])
@pytest.mark.parametrize("question", ["is a whale a fish? Answer:", "how many? Answer: ", "is it\n\n"])
def test_tokens_are_those_of_the_prompt_without_a_demonstration(tokenizer, description, question):
    row = {"description": description, "question": question, "target_delimiter": " ", "choices": ["no", "yes"]}
    (prompt,) = zero_shot_prompts(PromptEncoder(tokenizer), [row])
    tokens = encode_question(tokenizer, row)
    assert tokens.ids == prompt.context
    start, end = tokens.question
    assert end == len(tokens.ids)
    assert question.rstrip() in tokenizer.decode(tokens.ids[start:end])
    assert tokenizer.decode(tokens.ids[:start]).removeprefix("<s>") in description


class Study:
    """Samples of two splits in files, and the stage on them; `change` alters a row before it is rendered."""

    def __init__(self, folder, model, tokenizer, change=lambda row: row, candidates=6, items=4):
        folder.mkdir()
        rows = {"train": rows_of(0, 12), "validation": rows_of(100, 8)}
        rows = {split: [change(row) for row in part] for split, part in rows.items()}
        tasks = folder / "tasks"
        tasks.mkdir()
        files = {split: str(folder / f"{split}.jsonl") for split in rows}
        (tasks / "animals.yaml").write_text(json.dumps(CHOICE | {"dataset_kwargs": {"data_files": files}}))
        task = harness.load_task("animals", tasks, rows, "datasets.animals")
        splits = {"candidate": "train", "item": "validation"}
        pool, _ = make_pool(task, rows, splits, "animals", {}, 1, None)
        self.pool, self.folder = pool, folder
        POOL.write(pool, folder / "pool.parquet", {})
        for role, size in (("candidate", candidates), ("item", items)):
            sample = pool.filter(pl.col("role") == role, pl.col("id") < size).drop("role")
            SAMPLE.write(sample, folder / f"{role}s.parquet", {})
        model.save_pretrained(folder / "tiny")
        tokenizer.save_pretrained(folder / "tiny")

    def run(self, **changes):
        """The file that the stage writes, with `further` of the rows of the pool that are neither."""
        output = self.folder / "representations.parquet"
        folder = self.folder
        pool = folder / "pool.parquet" if "further" in changes else None
        representations.run(
            files=Files(folder / "candidates.parquet", folder / "items.parquet", pool),
            model=PreparedModel(folder / "tiny", "float32", "cpu"),
            settings={"layers": 2, "batch_tokens": 256, **changes},
            representations_out=output,
            job=Job(1, {}),
        )
        return output


def other_answer(row):
    return row | {"label": (row["label"] + 1) % 3}


def test_no_answer_changes_a_byte(tmp_path, tiny_model, tiny_tokenizer):
    asked = Study(tmp_path / "one", tiny_model, tiny_tokenizer)
    other = Study(tmp_path / "other", tiny_model, tiny_tokenizer, other_answer)
    golds = [SAMPLE.read(study.folder / "candidates.parquet")["gold"] for study in (asked, other)]
    assert (golds[0] != golds[1]).all()
    assert asked.run().read_bytes() == other.run().read_bytes()


def test_a_row_group_holds_a_layer_sorted_by_role_and_id(tmp_path, tiny_model, tiny_tokenizer):
    path = Study(tmp_path / "one", tiny_model, tiny_tokenizer).run(layers=[0, 2])
    frame = REPRESENTATIONS.read(path)
    assert pq.ParquetFile(path).num_row_groups == 3
    wanted = [
        (layer, role, i) for layer in (0, 2, 3) for role, n in (("candidates", 6), ("items", 4)) for i in range(n)
    ]
    assert frame.select("layer", "role", "id").rows() == wanted
    assert frame["mean_vector"].list.len().unique().to_list() == [32]


def test_further_rows_are_of_the_pool_and_neither_candidates_nor_items(tmp_path, tiny_model, tiny_tokenizer):
    study = Study(tmp_path / "one", tiny_model, tiny_tokenizer)
    few = REPRESENTATIONS.read(study.run(further=7)).filter(layer=3)
    assert few["role"].to_list() == ["pool"] * 7
    assert few["id"].to_list() == list(range(7))
    every = REPRESENTATIONS.read(study.run(further=1000)).filter(layer=3)
    assert every.height == 12 + 8 - 6 - 4
    samples = [SAMPLE.read(study.folder / f"{role}s.parquet") for role in ("candidate", "item")]
    further = representations.read_rows(
        Files(*(study.folder / f"{role}s.parquet" for role in ("candidate", "item")), study.folder / "pool.parquet"), 99
    )["pool"]
    taken = {row for sample in samples for row in sample.select("split", "source_row").rows()}
    found = [(row["split"], row["source_row"]) for row in further]
    assert not taken & set(found)
    assert taken | set(found) == set(study.pool.select("split", "source_row").rows())


@pytest.mark.parametrize(
    ("asked", "depth", "layers"),
    [
        (8, 30, [4, 8, 11, 15, 19, 22, 26, 30]),
        (1, 30, [30]),
        (3, 3, [1, 2, 3]),
        (4, 3, [0, 1, 2, 3]),
        (9, 3, [0, 1, 2, 3]),
        ([5, 0], 12, [0, 5, 12]),
    ],
)
def test_layers_are_evenly_spaced_or_named_with_the_last_among_them(asked, depth, layers):
    assert layers_of(asked, depth) == layers


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(StudyError, match=r"representations\.layers: there is no layer 13, the last .* is 12"):
        layers_of([13], 12)


def test_values_beyond_float16_are_set_to_a_limit_and_counted(tmp_path, tiny_model_of, tiny_tokenizer, caplog):
    model = tiny_model_of("llama")
    model.model.norm.weight[:3] = 1e6
    with caplog.at_level(logging.WARNING):
        frame = REPRESENTATIONS.read(Study(tmp_path / "one", model, tiny_tokenizer).run(layers=1))
    last = np.array(frame["last_vector"].to_list(), np.float64)
    assert np.abs(last).max() == 60_000
    assert f"layer 3, last_vector: {(np.abs(last) == 60_000).sum()} values beyond 60000" in caplog.text


def test_states_that_are_not_finite_are_refused(tmp_path, tiny_model_of, tiny_tokenizer):
    model = tiny_model_of("llama")
    model.model.norm.weight[0] = float("nan")
    with pytest.raises(StudyError, match=r"models\.tiny: hidden states of row 0 of candidates are not finite"):
        Study(tmp_path / "one", model, tiny_tokenizer).run()
