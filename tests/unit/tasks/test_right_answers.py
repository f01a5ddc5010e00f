"""Right answers of a pool: those that are shifted, unusable or cannot be scored are found."""

import json

import polars as pl
import pytest

from iclscope.runtime.errors import StudyError
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import POOL
from iclscope.tasks import harness
from iclscope.tasks.pool import CountingModel, make_pool
from iclscope.tasks.rows import write_rows
from pools import boolq, make, order, pool_of, rows


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
