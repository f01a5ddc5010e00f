"""A metric that nobody has is named, and not the rows that it fails on."""

import pytest

from iclscope.runtime.errors import StudyError
from iclscope.tasks import harness
from iclscope.tasks.metrics import refusal
from iclscope.tasks.pool import make_pool

ROWS = [{"q": f"one and {n}?", "a": f"{n + 1}"} for n in range(4)]
TASK = """\
task: mine
dataset_path: a/b
test_split: test
output_type: {kind}
doc_to_text: '{{{{q}}}}'
doc_to_target: '{{{{a}}}}'
doc_to_choice: {choices}
metric_list:
  - {entry}
"""


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    def load(name):
        raise FileNotFoundError(name)

    monkeypatch.setattr("evaluate.load", load)


def pool_with(tmp_path, entry, kind="generate_until"):
    choices = "['1', '2', '3', '4']" if kind == "multiple_choice" else "null"
    (tmp_path / "mine.yaml").write_text(TASK.format(kind=kind, choices=choices, entry=entry))
    (tmp_path / "utils.py").write_text("def same(references, predictions):\n    return 1.0\n")
    task = harness.load_task("mine", tmp_path, {"test": ROWS}, "datasets.d")
    return make_pool(task, {"test": ROWS}, {"candidate": "test", "item": "test"}, "d", {}, 1, None)[0]


@pytest.mark.parametrize(
    ("entry", "kind", "name"),
    [
        ("{metric: rouge}", "generate_until", "rouge"),
        ("{metric: exact_mtch, aggregation: mean, higher_is_better: true}", "generate_until", "exact_mtch"),
        ("{metric: exact_match, hf_evaluate: true}", "generate_until", "exact_match"),
        ("{metric: accuracy}", "multiple_choice", "accuracy"),
    ],
)
def test_a_metric_that_nobody_has_is_named_and_not_the_rows(tmp_path, entry, kind, name):
    with pytest.raises(StudyError) as caught:
        pool_with(tmp_path, entry, kind)
    sentence = (
        rf"datasets.d.task: mine: metric {name} of its metric_list cannot be fetched from the hub, and the harness"
    )
    assert str(caught.value).startswith(sentence)
    assert "acc, " in str(caught.value)
    assert "row" not in str(caught.value)


def test_a_function_without_its_aggregation_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"metric same of its metric_list is a function; say `aggregation: mean`"):
        pool_with(tmp_path, "{metric: !function utils.same}")


def test_metrics_that_are_there_are_none_of_its_business(tmp_path):
    assert pool_with(tmp_path, "{metric: exact_match}").height
    assert pool_with(tmp_path, "{metric: !function utils.same, aggregation: mean, higher_is_better: true}").height
    assert refusal(None, "t") == refusal([], "t") == refusal([{"metric": "exact_match"}], "t") == ""
