import json
from pathlib import Path

import pytest

import lm_harness
from iclscope.tasks import harness
from iclscope.tasks.rendering import UnusableRow, render
from iclscope.tasks.rows import read_rows

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOUR = {"label": list("ABCD"), "text": ["sun", "moon  ", "it's", "naïve 東京"]}
ROWS = {
    "super_glue/boolq": [
        {"question": "is ice cold", "passage": "Ice -- Ice is\n\nfrozen water.", "idx": 0, "label": 1},
        {"question": "{{ x }}", "passage": "{% if %}", "idx": 1, "label": 0},
        {"question": "is it true", "passage": "A bool.", "idx": 2, "label": True},
    ],
    "arc": [
        {"id": "a", "question": "What shines?", "choices": FOUR, "answerKey": "A"},
        {"id": "b", "question": "Which one? ", "choices": {**FOUR, "label": list("1234")}, "answerKey": "4"},
    ],
    "openbookqa": [{"question_stem": "Stars are", "choices": FOUR, "answerKey": "C"}] * 2,
    "gsm8k": [
        {"question": "One and one?", "answer": "1 + 1 = 2\n#### 2"},
        {"question": "2017", "answer": "#### 3"},
    ],
}
CASES = [
    ("boolq", "super_glue/boolq"),
    ("arc_challenge", "arc"),
    ("arc_challenge_chat", "arc"),  # starts the answer with words of its own
    ("openbookqa", "openbookqa"),  # a field, no template, is the question
    ("gsm8k", "gsm8k"),
]


def load(name, folder, rows):
    return harness.load_task(name, lm_harness.TASKS / folder, {"test": rows}, "datasets.d")


def check_pair(task, demonstration, item):
    """Text of our rows equals the harness's prompt and continuations; spans lie on question and answer."""
    shown, asked = render(task, demonstration), render(task, item)
    assert shown["prefix"] + asked["question"] == lm_harness.one_shot(task, demonstration, item)
    assert asked["description"] + asked["question"] == lm_harness.zero_shot(task, item)
    assert shown["prefix"][shown["question_start"] : shown["question_end"]] == task.doc_to_text(demonstration)
    answer = shown["prefix"][shown["answer_start"] : shown["answer_end"]]
    assert shown["prefix"][shown["answer_end"] :] == task.config.fewshot_delimiter
    if task.OUTPUT_TYPE == "multiple_choice":
        assert shown["kind"] == "choice"
        requests = task.construct_requests(item, "", metadata=("", 0, 1))
        assert [asked["target_delimiter"] + c for c in asked["choices"]] == [r.args[1] for r in requests]
        assert answer == shown["choices"][shown["gold"]]
        perfect = [(0.0 if i == asked["gold"] else -1.0, False) for i in range(len(asked["choices"]))]
        assert task.process_results(item, perfect)["acc"] == 1.0
    else:
        assert (shown["kind"], shown["choices"], shown["gold"]) == ("generation", [answer], 0)
        assert answer == task.doc_to_target(demonstration)


@pytest.mark.parametrize(("name", "folder"), CASES)
def test_text_equals_the_prompt_of_the_harness(name, folder):
    task = load(name, folder, ROWS[folder])
    for demonstration in ROWS[folder]:
        for item in ROWS[folder]:
            check_pair(task, demonstration, item)


@pytest.mark.parametrize(
    ("name", "folder"), [("arc_challenge", "arc"), ("arc_challenge_chat", "arc"), ("gsm8k", "gsm8k")]
)
def test_text_equals_the_prompt_of_the_harness_on_real_rows(name, folder):
    data = SHARED / name.removesuffix("_chat")
    if not data.is_dir():
        pytest.skip(f"needs the offline copies of ARC-Challenge and GSM8K in {SHARED}")
    train, test = (read_rows(data / f"{split}.jsonl") for split in ("train", "eval"))
    task = load(name, folder, test)
    for demonstration, item in zip(train[::100], test[::100], strict=False):
        check_pair(task, demonstration, item)


def test_description_and_other_delimiters_are_part_of_the_prompt(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        json.dumps(
            {
                "task": "mine",
                "dataset_path": "a/b",
                "output_type": "multiple_choice",
                "test_split": "test",
                "description": "Answer with one word.\n\n",
                "doc_to_text": "Q: {{question}}\nA:",
                "doc_to_target": "{{answer}}",
                "doc_to_choice": ["no", "yes"],
                "target_delimiter": "\t",
                "fewshot_delimiter": "\n###\n",
                "fewshot_config": {"doc_to_text": "Example: {{question}}\nA:", "target_delimiter": " -> "},
            }
        )
    )
    rows = [{"question": "one?", "answer": "yes"}, {"question": "two?", "answer": "0"}]
    task = harness.load_task("mine", tmp_path, {"test": rows}, "k")
    first, second = (render(task, row) for row in rows)
    prompt = "Answer with one word.\n\nExample: one?\nA: -> yes\n###\nQ: two?\nA:"
    assert first["prefix"] + second["question"] == prompt == lm_harness.one_shot(task, *rows)
    assert (first["gold"], second["gold"], second["target_delimiter"]) == (1, 0, "\t")
    assert second["prefix"].endswith("A: -> no\n###\n")
    assert first["prefix"][first["question_start"] : first["question_end"]] == "Example: one?\nA:"


def changed(folder, **fields):
    row = {**ROWS[folder][0], **fields}
    return {field: value for field, value in row.items() if value != "absent"}


@pytest.mark.parametrize(
    ("name", "folder", "fields", "reason"),
    [
        ("boolq", "super_glue/boolq", {"passage": "absent"}, "'passage' is undefined"),
        ("boolq", "super_glue/boolq", {"passage": None}, "field passage is empty"),
        ("boolq", "super_glue/boolq", {"passage": ["a"]}, "field passage is list, not text"),
        ("boolq", "super_glue/boolq", {"label": "absent"}, "field 'label' is missing"),
        ("boolq", "super_glue/boolq", {"label": -1}, "right answer -1 is not among the 2 choices"),
        ("boolq", "super_glue/boolq", {"label": 2}, "right answer 2 is not among"),
        ("boolq", "super_glue/boolq", {"label": None}, "right answer None is not among"),
        ("boolq", "super_glue/boolq", {"label": "maybe"}, "right answer 'maybe' is not among"),
        ("boolq", "super_glue/boolq", {"passage": "\ud800"}, "half of a surrogate pair"),
        ("arc_challenge", "arc", {"answerKey": "E"}, "is not in list"),
        ("arc_challenge", "arc", {"choices": {"label": ["A"], "text": ["sun"]}}, "fewer than two choices"),
        ("arc_challenge", "arc", {"choices": {"label": ["A", "B"], "text": ["sun", " "]}}, "choice is empty"),
        ("arc_challenge", "arc", {"choices": {"label": ["A", "B"], "text": ["sun", 5]}}, "choice is int, not text"),
        ("openbookqa", "openbookqa", {"question_stem": "  "}, "question is empty"),
        ("openbookqa", "openbookqa", {"question_stem": 5}, "question is int, not text"),
        ("openbookqa", "openbookqa", {"question_stem": None}, "question is NoneType, not text"),
        ("gsm8k", "gsm8k", {"answer": ""}, "answer is empty"),
        ("gsm8k", "gsm8k", {"answer": None}, "field answer is empty"),
        ("gsm8k", "gsm8k", {"answer": "absent"}, "'answer' is undefined"),
    ],
)
def test_row_that_cannot_be_rendered_says_why(name, folder, fields, reason):
    task = load(name, folder, ROWS[folder])
    with pytest.raises(UnusableRow) as caught:
        render(task, changed(folder, **fields))
    assert reason in str(caught.value)


@pytest.mark.parametrize("letters", ["ABC", "ABCDE", "1234", "12345"])
def test_any_number_and_kind_of_labels_is_used(letters):
    task = load("arc_challenge", "arc", ROWS["arc"])
    choices = {"label": list(letters), "text": [f"thing {letter}" for letter in letters]}
    for place, letter in enumerate(letters):
        rendered = render(task, changed("arc", choices=choices, answerKey=letter))
        assert rendered["gold"] == place
        assert rendered["choices"] == choices["text"]


@pytest.mark.parametrize(
    ("name", "folder", "fields", "reason"),
    [
        ("arc_challenge", "arc", {"answerKey": "E"}, "right answer (field answerKey, choices): "),
        ("boolq", "super_glue/boolq", {"label": 3}, "right answer 3 is not among the 2 choices (field label)"),
        ("boolq", "super_glue/boolq", {"note": [{"deep": "\udce9"}]}, "field note is not UTF-8"),
    ],
)
def test_the_field_of_a_row_that_cannot_be_rendered_is_named(name, folder, fields, reason):
    with pytest.raises(UnusableRow) as caught:
        render(load(name, folder, ROWS[folder]), changed(folder, **fields))
    assert reason in str(caught.value)
