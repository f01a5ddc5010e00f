import hashlib
import json
import logging
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, Task
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import POOL
from iclscope.tasks import harness
from iclscope.tasks.pool import CountingModel, choose_splits, make_pool, permutation, run_pool
from iclscope.tasks.rows import write_rows
from tiny import build_model, build_tokenizer

OWN = Path(__file__).parents[3] / "config" / "tasks"


def boolq(i, **fields):
    return {"question": f"is {i} odd", "passage": f"Passage {i // 2}.", "idx": i, "label": i % 2, **fields}


def rows(count, start=0):
    return [boolq(i) for i in range(start, start + count)]


@pytest.fixture(scope="module")
def task():
    return harness.load_task("boolq", OWN, {"train": rows(2)}, "datasets.d")


def count_words(texts):
    return [len(text.split()) for text in texts]


def pool_of(task, parts, settings=None, seed=1, count_tokens=None, dataset="d"):
    splits = {"candidate": next(iter(parts)), "item": list(parts)[-1]}
    return make_pool(
        task, parts, splits, dataset, settings or {}, seed, count_tokens and CountingModel(count_tokens, sys.maxsize)
    )[0]


def order(pool, role):
    return pool.filter(pl.col("role") == role).sort("id")["source_row"].to_list()


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


def labelled(tmp_path, labels, options, **fields):
    """A task on rows with these right answers, and the rows."""
    part = [{"question": f"what is {i}?", "label": label, "options": options} for i, label in enumerate(labels)]
    defaults = {"task": "mine", "dataset_path": "a/b", "output_type": "multiple_choice", "test_split": "test"}
    texts = {"doc_to_text": "Q: {{question}}\nA:", "doc_to_target": "label", "doc_to_choice": "options"}
    (tmp_path / "mine.yaml").write_text(json.dumps({**defaults, **texts, **fields}))
    return harness.load_task("mine", tmp_path, {"test": part}, "datasets.d"), part


FIVE = ["red", "blue", "green", "white", "black"]


@pytest.mark.parametrize(
    ("labels", "options", "settings", "part"),
    [
        (
            [1, 2, 3, 4, 5],
            FIVE,
            {},
            "none is 0, and 4 are beyond the last choice, the first in row 4: 5 of 5",
        ),
        ([1, 2, 3, 4], FIVE[:4], {"max_unusable": 0.5}, "seem to count from 1"),
        ([1, 2], FIVE[:2], {"max_unusable": 1}, "seem to count from 1"),
        ([1, 2, 3, 4, 4, 3, 2, 1, 5], FIVE, {}, "count from 1"),
        ([2, 3, 4, 5, 6], FIVE, {"max_unusable": 0.5}, "seem to count from 2"),
        ([-1, 0, 1, 2, 3], FIVE, {}, "none is the last choice, and 4 are below 0, the first in row 0: -1"),
        (["1", "2", "3", "4", "5"], FIVE, {"template": True}, "seem to count from 1"),
        ([1, 2, 3], ["1", "2", "3"], {}, "also the text of a choice"),
        ([1, 2], ["1", "2", "3"], {}, "also the text of a choice"),
        ([1, 2], [1, 2, 3], {}, "also the text of a choice"),
        (["1", "2"], ["1", "2", "3"], {"template": True}, "also the text of a choice"),
    ],
)
@pytest.mark.parametrize("output_type", ["multiple_choice", "generate_until"])
def test_right_answers_that_are_all_shifted_are_refused(tmp_path, labels, options, settings, part, output_type):
    fields = {"doc_to_target": "{{label}}"} if settings.get("template") else {}
    if output_type == "generate_until":
        fields |= {"output_type": output_type, "generation_kwargs": {"until": ["\n"]}}
    task, rows = labelled(tmp_path, labels * 4, options, **fields)
    limit = {key: value for key, value in settings.items() if key == "max_unusable"}
    with pytest.raises(StudyError, match=part) as caught:
        pool_of(task, {"test": rows}, limit)
    assert str(caught.value).startswith("datasets.d: task mine reads the right answers of split test as indices")


@pytest.mark.parametrize(
    ("labels", "options", "target", "golds"),
    [
        ([0, 1, 2, 3, 4], FIVE, "label", [0, 1, 2, 3, 4]),
        ([1, 2, 3], FIVE, "label", [1, 2, 3]),
        ([0, 1, 2, 4, 5], FIVE, "label", [0, 1, 2, 4]),
        ([-1, 0, 1, 4, 3], FIVE, "label", [0, 1, 4, 3]),
        (["1", "2", "3"], ["1", "2", "3"], "label", [0, 1, 2]),
        ([0, 1, 2], ["0", "1", "2"], "{{label}}", [0, 1, 2]),
        ([0, 1, 2], ["1", "2", "3"], "{{label}}", [0, 1, 2]),
        (["1", "2", "3"], ["1", "2", "3"], "{{options.index(label)}}", [0, 1, 2]),
        ([False, True], ["no", "yes"], "label", [0, 1]),
        (["blue", "black"], FIVE, "label", [1, 4]),
    ],
)
def test_right_answers_in_order_are_used(tmp_path, labels, options, target, golds):
    task, rows = labelled(tmp_path, labels, options, doc_to_target=target)
    pool = pool_of(task, {"test": rows}, {"max_unusable": 0.2}).filter(pl.col("role") == "candidate")
    assert pool.sort("source_row")["gold"].to_list() == golds


def test_choices_that_are_numbers_in_some_rows_leave_the_index_an_index(tmp_path):
    task, rows = labelled(tmp_path, [0, 1, 2, 3, 4], FIVE)
    rows[1]["options"] = ["1", "2", "3"]
    gold = dict(pool_of(task, {"test": rows}).select("source_row", "gold").iter_rows())
    assert gold[1] == 1


FAULTS = {
    "field missing": ({"passage": "absent"}, "'passage' is undefined"),
    "text empty": ({"question": "  "}, None),  # the template puts words around it
    "field empty": ({"question": None}, "field question is empty"),
    "answer outside the choices": ({"label": 2}, "right answer 2 is not among the 2 choices (field label)"),
    "answer missing": ({"label": "absent"}, "right answer (field label): field 'label' is missing"),
    "not UTF-8": ({"passage": b"caf\xe9".decode(errors="surrogateescape")}, "field passage is not UTF-8"),
    "not UTF-8 in a field of no use": ({"note": b"\xff".decode(errors="surrogateescape")}, "field note is not UTF-8"),
    "100,000 characters": ({"passage": "whale " * 16_667}, "too long for a context of 2048 tokens"),
}


@pytest.mark.parametrize(("change", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_bad_row_is_dropped_with_its_reason(tmp_path, tiny_model, tiny_tokenizer, change, reason):
    tiny_model.config.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    bad = {field: value for field, value in boolq(20, **change).items() if value != "absent"}
    part = [*rows(20), bad]
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data/validation.jsonl", part)
    pool = make(tmp_path, tmp_path / "data", model=tmp_path / "model")
    frame = POOL.read(pool)
    dropped = read_provenance(pool)["dropped"]
    if reason is None:
        assert set(order(frame, "item")) == set(range(21))
        return
    assert set(order(frame, "item")) == set(order(frame, "candidate")) == set(range(20))
    counted = {text: count for counts in dropped.values() for text, count in counts.items() if count}
    assert [count for text, count in counted.items() if reason in text] == [1], dropped


@pytest.mark.parametrize("kind", ["multiple_choice", "generate_until"])
def test_a_row_whose_answer_has_no_tokens_of_its_own_is_dropped_and_counted(tmp_path, tiny_tokenizer, kind):
    part = [{"question": f"Is it {i}: ", "answer": "yes"} for i in range(20)]
    part += [{"question": f"Is it {i}: y", "answer": "es"} for i in range(3)]  # "yes" is one token, and so is "y"
    task = {"task": "mine", "dataset_path": "a/b", "output_type": kind, "test_split": "test", "target_delimiter": ""}
    task |= {"doc_to_text": "{{question}}", "doc_to_target": "{{answer}}"}
    if kind == "multiple_choice":
        task["doc_to_choice"] = "{{['no', answer]}}"
    (tmp_path / "mine.yaml").write_text(json.dumps(task))
    loaded = harness.load_task("mine", tmp_path, {"test": part}, "datasets.d")
    splits = {"candidate": "test", "item": "test"}

    def count(texts):
        return [len(tiny_tokenizer(text)["input_ids"]) for text in texts]

    pool, dropped = make_pool(loaded, {"test": part}, splits, "d", {}, 1, CountingModel(count, 512))
    assert set(order(pool, "item")) == set(order(pool, "candidate")) == set(range(20))
    for role in ("candidates", "items"):
        reasons = {reason: number for reason, number in dropped[role].items() if "merges into the last token" in reason}
        assert list(reasons.values()) == [3]


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


def answered(tmp_path, **fields):
    """A task of generated answers with these fields, and rows for it."""
    task = {"task": "mine", "dataset_path": "a/b", "output_type": "generate_until", "test_split": "test"}
    task |= {"doc_to_text": "{{question}}", "doc_to_target": "{{answer}}", "generation_kwargs": {"until": ["\n"]}}
    (tmp_path / "mine.yaml").write_text(json.dumps({**task, **fields}))
    part = [{"question": f"What is {i}?", "answer": "abc" * i} for i in range(1, 13)]
    return harness.load_task("mine", tmp_path, {"test": part}, "datasets.d"), part


def only(*metrics):
    return {"metric_list": [{"metric": metric, "aggregation": metric, "higher_is_better": True} for metric in metrics]}


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        (
            {"filter_list": [{"name": "letter", "filter": [{"function": "multi_choice_regex"}]}]},
            "the first is row 0: an answer to it cannot be scored: field 'choices' is missing",
        ),
        (
            only("bleu"),
            "datasets.d.task: mine has no metric that scores a single answer and is averaged over them (it",
        ),
        (only("ter", "bleu", "chrf"), "(it has ter, bleu, chrf)"),
        ({"doc_to_choice": ["a", "b"]}, "an answer to it cannot be scored: list indices must be integers"),
    ],
)
def test_a_task_that_cannot_score_its_own_answers_fails_in_the_pool(tmp_path, fields, part):
    task, rows = answered(tmp_path, **fields)
    with pytest.raises(StudyError) as caught:
        pool_of(task, {"test": rows})
    assert part in str(caught.value)
    assert str(caught.value).startswith("datasets.d")


def test_a_distance_is_refused_before_any_answer_is_generated(tmp_path):
    (tmp_path / "own.py").write_text(
        "def distance(references, predictions):\n    return float(abs(len(references[0]) - len(predictions[0])))\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ndataset_path: a/b\noutput_type: generate_until\ntest_split: test\ndoc_to_text: '{{question}}'\n"
        "doc_to_target: '{{answer}}'\nmetric_list:\n  - {metric: !function own.distance, aggregation: mean, "
        "higher_is_better: false}\n"
    )
    rows = [{"question": f"What is {i}?", "answer": "abc" * i} for i in range(1, 13)]
    task = harness.load_task("mine", tmp_path, {"test": rows}, "datasets.d")
    with pytest.raises(StudyError, match=r"metric distance gives \d+ for an answer, and only a share from 0 to 1"):
        pool_of(task, {"test": rows})


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


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_rows(folder / "train.jsonl", rows(40))
    write_rows(folder / "validation.jsonl", rows(30, start=100))
    return folder


def make(tmp_path, data, model=None, task_folder=OWN, **settings):
    pool = tmp_path / "pool.parquet"
    if model is None:
        model = tmp_path / "counting"
        build_model("llama").config.save_pretrained(model)
        build_tokenizer().save_pretrained(model)
    run_pool(
        data=data,
        dataset="d",
        task=Task(settings.pop("task", "boolq"), task_folder, "datasets.d"),
        model=model,
        settings=settings,
        pool_out=pool,
        job=Job(1, {"seed": 1}),
    )
    return pool


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
