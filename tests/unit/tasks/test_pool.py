import hashlib
import json
import logging

import numpy as np
import polars as pl
import pytest

from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, Task
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import POOL
from iclscope.tasks import harness
from iclscope.tasks.pool import choose_splits, permutation, run_pool
from iclscope.tasks.rows import write_rows
from pools import OWN, boolq, make, order, pool_of, rows


def count_words(texts):
    return [len(text.split()) for text in texts]


def test_roles_of_different_splits_hold_every_row_in_their_own_order(task):
    pool = pool_of(task, {"train": rows(40), "validation": rows(30, start=100)})
    POOL.check(pool)
    assert sorted(order(pool, "candidate")) == list(range(40))
    assert sorted(order(pool, "item")) == list(range(30))
    assert order(pool, "candidate") == permutation(1, "d", "train", 40).tolist()
    first = pool.row(0, named=True)
    assert (first["role"], first["id"], first["split"]) == ("candidate", 0, "train")
    assert json.loads(first["document"]) == boolq(first["source_row"])
    assert first["tokens"] is None
    assert first["cluster"] is None


def test_roles_of_one_split_come_from_its_two_ends(task):
    pool = pool_of(task, {"validation": rows(30)})
    assert sorted(order(pool, "candidate")) == list(range(30))
    assert order(pool, "item") == order(pool, "candidate")[::-1]


def test_order_depends_on_seed_data_set_and_split_only(task):
    def candidates(**arguments):
        return order(pool_of(task, {"train": rows(50), "validation": rows(5, start=100)}, **arguments), "candidate")

    assert candidates() == candidates()
    assert candidates() != candidates(seed=2)
    assert candidates() != candidates(dataset="e")
    assert permutation(1, "d", "train", 50).tolist() != permutation(1, "d", "test", 50).tolist()


def test_filters_only_take_rows_out(task):
    everything = rows(60)
    whole = order(pool_of(task, {"train": everything, "validation": rows(5, start=100)}), "candidate")
    broken = [{**row, "label": 7} if i % 10 == 3 else row for i, row in enumerate(everything)]
    broken[5] = {**broken[5], "passage": "long " * 50}
    broken[8] = dict(broken[18])
    broken[9] = boolq(101)
    settings = {"max_tokens": {"candidates": 20, "items": 20}}
    pool = pool_of(task, {"train": broken, "validation": rows(5, start=100)}, settings, count_tokens=count_words)
    found = order(pool, "candidate")
    gone = {3, 13, 23, 33, 43, 53, 5, 9} | ({8, 18} - set(found))
    assert found == [number for number in whole if number not in gone]
    assert len({8, 18} & set(found)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_permutations_are_uniform_enough(seed):
    numbers = permutation(seed, "d", "train", 1000)
    assert sorted(numbers) == list(range(1000))
    assert abs(np.corrcoef(numbers, np.arange(1000))[0, 1]) < 0.12


def test_question_of_an_item_is_no_candidate(task, caplog):
    with caplog.at_level(logging.INFO, "iclscope"):
        pool = pool_of(task, {"train": [*rows(10), boolq(100, label=1)], "validation": rows(5, start=100)})
    assert 10 not in order(pool, "candidate")
    assert len(order(pool, "item")) == 5
    assert "datasets.d: 10 candidates from train; dropped: 1 question of an item" in caplog.text


def test_same_question_with_another_answer_is_kept_unless_roles_share_the_split(task):
    twice = [*rows(4), boolq(0, label=1), boolq(1)]  # question 0 with both answers, question 1 repeated
    apart = pool_of(task, {"train": twice, "validation": rows(2, start=100)})
    assert len(order(apart, "candidate")) == 5
    shared = pool_of(task, {"validation": twice})
    assert len(order(shared, "candidate")) == len(order(shared, "item")) == 4


def test_token_limits_hold_per_role(task, caplog):
    part = [boolq(i, passage=" ".join(["word"] * i)) for i in range(1, 31)]
    settings = {"max_tokens": {"candidates": 20, "items": 15}}
    with caplog.at_level(logging.INFO, "iclscope"):
        pool = pool_of(task, {"validation": part}, settings, count_tokens=count_words)
    # Words besides the passage: "Question:", three of the question, "Answer:", and the answer of a demonstration.
    assert sorted(order(pool, "candidate")) == list(range(14))
    assert sorted(order(pool, "item")) == list(range(10))
    tokens = dict(pool.filter(pl.col("role") == "candidate").select("source_row", "tokens").iter_rows())
    assert tokens[0] == 7
    assert "16 longer than 20 tokens" in caplog.text
    assert "20 longer than 15 tokens" in caplog.text


def test_items_that_share_a_passage_are_one_cluster(task):
    pool = pool_of(task, {"train": rows(4, start=90), "validation": rows(6)}, {"cluster": "passage"})
    pool = pool.filter(role="item")
    clusters = dict(pool.select("source_row", "cluster").iter_rows())
    assert clusters[0] == clusters[1] != clusters[2]
    assert clusters[0] == hashlib.sha256(b"Passage 0.").hexdigest()[:16]


@pytest.mark.parametrize("parts", [{"validation": rows(20)}, {"train": rows(20), "validation": rows(9, start=13)}])
def test_no_passage_plays_both_roles(task, parts):
    pool = pool_of(task, parts, {"cluster": "passage"})
    passages = {role: set(pool.filter(role=role)["cluster"]) for role in ("candidate", "item")}
    assert not passages["candidate"] & passages["item"]
    assert len(passages["candidate"] | passages["item"]) == len(
        {row["passage"] for part in parts.values() for row in part}
    )
    assert min(map(len, passages.values())) >= 3


def test_unknown_cluster_field_names_the_key(task):
    with pytest.raises(StudyError, match=r"datasets\.d\.cluster: no row .* has the field page; the fields are idx, "):
        pool_of(task, {"validation": rows(6)}, {"cluster": "page"})


def test_few_unusable_rows_are_counted_and_many_are_an_error(task, caplog):
    def with_broken(count):
        return {"validation": [*rows(20 - count), *[boolq(50 + i, label=-1) for i in range(count)]]}

    with caplog.at_level(logging.INFO, "iclscope"):
        assert len(order(pool_of(task, with_broken(4)), "item")) == 16
    assert "datasets.d: 4 of 20 rows of split validation cannot be used: right answer -1" in caplog.text
    with pytest.raises(StudyError) as caught:
        pool_of(task, with_broken(5))
    assert str(caught.value).endswith("or raise datasets.d.max_unusable (0.2)")
    assert "datasets.d: task boolq cannot use 5 of 20 rows of split validation, the first is row 15: " in str(
        caught.value
    )
    assert "right answer -1" in str(caught.value)


def test_the_share_of_unusable_rows_is_a_setting(task):
    part = {"validation": [*rows(18), boolq(50, label=-1), boolq(51, passage=None)]}
    assert len(order(pool_of(task, part, {"max_unusable": 0.1}), "item")) == 18
    for share in (0, 0.09):
        with pytest.raises(
            StudyError,
            match=r"cannot use 2 of 20 rows .* row 18: right answer -1 is not among the 2 choices \(field label\)",
        ):
            pool_of(task, part, {"max_unusable": share})


LATIN = b"caf\xe9".decode(errors="surrogateescape")


def test_the_first_rows_may_be_no_utf8(tmp_path, data):
    write_rows(data / "validation.jsonl", [*(boolq(i, passage=LATIN) for i in range(12)), *rows(60, start=100)])
    frame = POOL.read(make(tmp_path, data))
    assert set(order(frame, "item")) == set(range(12, 72))


@pytest.mark.parametrize("processed", [False, True])
def test_rows_in_another_encoding_are_refused_in_a_sentence(tmp_path, data, processed):
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "utils.py").write_text("def f(docs):\n    return docs\n")
    text = (OWN / "boolq.yaml").read_text().replace("task: boolq", "task: mine")
    (folder / "mine.yaml").write_text(text + "process_docs: !function utils.f\n" * processed)
    for part in ("train", "validation"):
        write_rows(data / f"{part}.jsonl", [boolq(i, passage=LATIN) for i in range(30)])
    with pytest.raises(
        StudyError, match=r"^datasets\.d: (30 of 30 rows of .* are not|no row of this data set is) UTF-8"
    ):
        make(tmp_path, data, task="mine", task_folder=folder)
    write_rows(data / "validation.jsonl", [*rows(30, start=100), boolq(0, passage=LATIN)])
    write_rows(data / "train.jsonl", [*rows(30), boolq(0, passage=LATIN)])
    assert len(order(POOL.read(make(tmp_path, data, task="mine", task_folder=folder)), "item")) == 30


def test_no_prompt_is_longer_than_the_context_of_the_model(tmp_path, tiny_model_of, tiny_tokenizer):
    context = 200
    tiny_model_of("llama", max_position_embeddings=context).config.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "data").mkdir()
    lengths = np.random.default_rng(0).integers(1, 60, 60).tolist()
    write_rows(tmp_path / "data/train.jsonl", [boolq(i, passage="a whale " * n) for i, n in enumerate(lengths)])
    write_rows(
        tmp_path / "data/validation.jsonl", [boolq(i + 60, passage="a whale " * n) for i, n in enumerate(lengths)]
    )
    pool = make(tmp_path, tmp_path / "data", model=tmp_path / "model")
    frame = POOL.read(pool)
    candidates, items = (list(frame.filter(role=role).iter_rows(named=True)) for role in ("candidate", "item"))
    whole = [
        len(tiny_tokenizer(candidate["prefix"] + item["question"] + item["target_delimiter"] + choice)["input_ids"])
        for candidate in candidates
        for item in items
        for choice in item["choices"]
    ]
    assert 0.8 * context < max(whole) <= context
    for role, part in (("candidates", candidates), ("items", items)):
        assert (
            read_provenance(pool)["dropped"][role][f"too long for a context of {context} tokens"] == 60 - len(part) > 0
        )


def test_generated_answers_have_a_quarter_of_the_context(tmp_path, tiny_model_of, tiny_tokenizer):
    tiny_model_of("llama", max_position_embeddings=200).config.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "data").mkdir()
    part = [{"body": "an apple " * i, "question": f"How many {i}?", "answer": str(i)} for i in range(30)]
    write_rows(tmp_path / "data/validation.jsonl", part)
    frame = POOL.read(make(tmp_path, tmp_path / "data", task="asdiv_generate", model=tmp_path / "model"))
    tokens = dict(frame.group_by("role").agg(pl.max("tokens")).iter_rows())
    assert 40 < tokens["item"] <= 50 < 80 < tokens["candidate"] <= 100


def test_pool_without_rows_is_an_error(task):
    settings = {"max_tokens": {"candidates": 2, "items": 200}}
    with pytest.raises(
        StudyError, match=r"datasets\.d: no row of split validation is left as candidate .*longer than 2"
    ):
        pool_of(task, {"validation": rows(6)}, settings, count_tokens=count_words)


def shuffling(tmp_path, body):
    """A task whose question comes from a function of its own with this body, and rows for it."""
    (tmp_path / "utils.py").write_text(f"import random, time\n\n\ndef text(doc):\n    {body}\n")
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ndataset_path: a/b\noutput_type: multiple_choice\ntest_split: test\ndoc_to_choice: ['no', 'yes']\n"
        "doc_to_target: label\ndoc_to_text: !function utils.text\n"
    )
    part = rows(12)
    return harness.load_task("mine", tmp_path, {"test": part}, "datasets.d"), part


def test_random_prompts_follow_the_seed_and_the_row(tmp_path):
    task, part = shuffling(tmp_path, "return doc['question'] + str(random.random())")

    def questions(part, seed):
        return dict(pool_of(task, {"test": part}, seed=seed).select("source_row", "question").iter_rows())

    first = questions(part, 1)
    assert first == questions(part, 1)
    assert set(first.values()).isdisjoint(questions(part, 2).values())
    assert len({text.split("0.")[1] for text in first.values()}) == 12
    broken = questions([*part[:11], {**part[11], "label": 7}], 1)
    assert broken == {row: text for row, text in first.items() if row != 11}


def test_prompts_that_no_seed_reaches_are_refused(tmp_path):
    task, part = shuffling(tmp_path, "return doc['question'] + str(time.time_ns())")
    with pytest.raises(StudyError, match=r"^datasets\.d\.task: mine renders row \d+ of split test in another way when"):
        pool_of(task, {"test": part})


FULL = {"fewshot_split": "shots", "training_split": "train", "validation_split": "validation", "test_split": "test"}


@pytest.mark.parametrize(
    ("config", "settings", "available", "candidates", "items"),
    [
        (FULL, {}, ["shots", "train", "validation", "test"], "shots", "test"),
        (FULL, {}, ["train", "validation", "test"], "train", "test"),
        (FULL, {}, ["train", "validation"], "train", "validation"),
        (FULL, {}, ["validation", "test"], "validation", "test"),
        (FULL, {}, ["validation"], "validation", "validation"),
        (FULL, {}, ["test"], "test", "test"),
        ({"validation_split": "validation"}, {}, ["train", "validation"], "validation", "validation"),
        ({"fewshot_config": {"split": "dev"}, "test_split": "test"}, {}, ["dev", "test"], "dev", "test"),
        (FULL, {"candidates_split": "extra"}, ["train", "test", "extra"], "extra", "test"),
        (FULL, {"items_split": "train"}, ["train", "test"], "train", "train"),
    ],
)
def test_splits_are_those_of_the_task_that_the_data_has(config, settings, available, candidates, items):
    assert choose_splits(config, settings, available, "k") == {"candidate": candidates, "item": items}


@pytest.mark.parametrize(
    ("settings", "available", "message"),
    [
        (
            {"candidates_split": "dev"},
            ["test"],
            "datasets.d.candidates_split: no split dev in the data; set it to one of",
        ),
        ({"items_split": "dev"}, ["test"], "datasets.d.items_split: no split dev in the data; set it to one of test"),
        ({}, ["a", "b"], "datasets.d.items_split: no split test, validation in the data; set it to one of a, b"),
    ],
)
def test_missing_split_names_the_key(settings, available, message):
    with pytest.raises(StudyError) as caught:
        choose_splits(FULL, settings, available, "datasets.d")
    assert str(caught.value).startswith(message)


def test_second_pool_is_byte_identical(tmp_path, data):
    pool = make(tmp_path, data)
    assert read_provenance(pool)["seed"] == 1
    assert make(tmp_path, data).read_bytes() == make(tmp_path, data).read_bytes()


def test_tokenizer_of_the_model_counts(tmp_path, data, tiny_model, tiny_tokenizer):
    tiny_model.config.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    limits = {"candidates": 10_000, "items": 10_000, "tokenizer": "m"}
    pool = tmp_path / "pool.parquet"
    run_pool(
        data=data,
        dataset="d",
        task=Task("boolq", OWN, "datasets.d"),
        model=tmp_path / "model",
        settings={"max_tokens": limits},
        pool_out=pool,
        job=Job(1, {}),
    )
    for row in POOL.read(pool).iter_rows(named=True):
        text = row["prefix"][: row["answer_end"]] if row["role"] == "candidate" else row["question"]
        assert row["tokens"] == len(tiny_tokenizer(text)["input_ids"])


def test_unreadable_data_is_named(tmp_path, data):
    (data / "train.jsonl").write_text('{"question": 1\n')
    with pytest.raises(StudyError, match=r"train\.jsonl, line 1"):
        make(tmp_path, data)


def test_generated_answers_are_sampled_too(tmp_path):
    part = [{"body": f"Ann has {i}.", "question": "How many?", "answer": f"{i} (apples)"} for i in range(9)]
    task = harness.load_task("asdiv_generate", OWN, {"validation": part}, "k")
    pool = pool_of(task, {"validation": part})
    row = pool.row(0, named=True)
    assert row["kind"] == "generation"
    assert row["choices"] == [str(row["source_row"])]
    assert row["gold"] == 0
