import json
from pathlib import Path

import pytest

import lm_harness
from iclscope.runtime.errors import StudyError
from iclscope.tasks import harness, rendering
from iclscope.tasks.rendering import UnusableRow, render
from iclscope.tasks.rows import read_rows

SHARED = Path(__file__).parents[4] / "shared" / "data"
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
        (
            "arc_challenge",
            "arc",
            {"choices": {"label": ["A", "B"], "text": ["sun", ["a"]]}},
            "choice is list, not text",
        ),
        ("arc_challenge", "arc", {"choices": {"label": ["A", "B"], "text": ["sun", None]}}, "choice is NoneType, not"),
        (
            "arc_challenge",
            "arc",
            {"choices": {"label": ["A", "B"], "text": ["sun", True]}},
            "is true or false, not text",
        ),
        ("arc_challenge", "arc", {"choices": {"label": ["A", "B"], "text": "sun|moon"}}, "choices (field choices) are"),
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


@pytest.mark.parametrize(("passage", "reason"), [(None, "field passage is empty"), (["a"], "is list, not text")])
def test_rows_are_refused_too_where_templates_are_compiled_once(passage, reason):
    task = load("boolq", "super_glue/boolq", ROWS["super_glue/boolq"])
    rendering._strict.cache_clear()
    with rendering.templates_compiled_once():
        assert render(task, changed("super_glue/boolq")) == render(task, changed("super_glue/boolq"))
        with pytest.raises(UnusableRow) as caught:
            render(task, changed("super_glue/boolq", passage=passage))
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


def own_task(tmp_path, rows, **fields):
    """A multiple-choice task of a file with these fields, built on the rows."""
    defaults = {
        "task": "mine",
        "dataset_path": "a/b",
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "Q: {{question}}\nA:",
        "doc_to_target": "answer",
        "doc_to_choice": "options",
    }
    (tmp_path / "mine.yaml").write_text(json.dumps({**defaults, **fields}))
    return harness.load_task("mine", tmp_path, {"test": rows}, "datasets.d")


def row_of(options, answer="yes"):
    return {"question": "is it?", "options": options, "answer": answer}


GOOD = row_of(["no", "yes"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("yes|no", "choices (field options) are text, not a list; let a template split it: '{{options.split(\"|\")}}'"),
        ("yes, no", "let a template split it: '{{options.split(\",\")}}'"),
        ("yes\nno", "are text, not a list"),
        ("yes", "are text, not a list"),
        ("['no', 'yes']", "are text, not a list; let a template read it: '{{options}}'"),
        ('["no", "yes"]', "let a template read it: '{{options}}'"),
        ("('no', 'yes')", "are text, not a list"),
        ("['no' 'yes']", "are text, not a list"),
        ("", "are text, not a list"),
        (12, "choices (field options) are int, not a list"),
        (1.5, "choices (field options) are float, not a list"),
        (True, "choices (field options) are bool, not a list"),
        (None, "choices (field options) are NoneType, not a list"),
        ({"label": ["A", "B"], "text": ["no", "yes"]}, "choices (field options) are dict, not a list"),
        ([["no"], ["yes"]], "choice is list, not text"),
        ([{"text": "no"}, {"text": "yes"}], "choice is dict, not text"),
        (["yes", None], "choice is NoneType, not text"),
        (["yes", ""], "choice is empty"),
        ([True, False], "choice is true or false, not text; put it in quotes"),
        ([float("nan"), "yes"], "choice is float, not text"),
    ],
)
@pytest.mark.parametrize(
    "fields", [{}, {"fewshot_config": {"doc_to_choice": "options"}, "doc_to_choice": ["no", "yes"]}]
)
def test_what_is_no_list_of_texts_is_not_taken_apart(tmp_path, options, reason, fields):
    task = own_task(tmp_path, [GOOD], **fields, **({"doc_to_target": 1} if fields else {}))
    with pytest.raises(UnusableRow) as caught:
        render(task, row_of(options))
    assert reason in str(caught.value)


@pytest.mark.parametrize("options", ["yes|no", "['yes', 'no']", {"a": "yes"}, True, [["a"], ["b"]]])
def test_a_data_set_whose_choices_are_no_lists_is_refused_with_the_reason(tmp_path, options):
    with pytest.raises(
        StudyError, match=r"^datasets\.d\.task: mine does not fit the rows .*(choices|choice) "
    ) as caught:
        own_task(tmp_path, [row_of(options)] * 3)
    assert "not" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"doc_to_choice": "{{options.split('|')}}"}, "no|yes"),
        ({"doc_to_choice": "{{options}}"}, "['no', 'yes']"),
        ({"doc_to_choice": "{{options}}"}, '["no", "yes"]'),
        ({"doc_to_choice": "{{options}}"}, ["no", "yes"]),
        ({"doc_to_choice": "{{options.text}}"}, {"text": ["no", "yes"]}),
        ({"doc_to_choice": ["no", "yes"]}, "anything"),
        ({"doc_to_choice": {"first": "no", "second": "yes"}}, "anything"),
    ],
)
def test_lists_in_other_forms_are_read(tmp_path, fields, options):
    row = row_of(options)
    assert render(own_task(tmp_path, [row], **fields), row)["choices"] == ["no", "yes"]


@pytest.mark.parametrize(
    ("options", "texts"),
    [([1, 20, -3], ["1", "20", "-3"]), ([0.5, 12, "x"], ["0.5", "12", "x"]), ([10**20, 1], [str(10**20), "1"])],
)
@pytest.mark.parametrize("source", ["options", "{{options}}"])
def test_numbers_as_choices_are_their_text(tmp_path, options, texts, source):
    row = row_of(options, texts[1])
    rendered = render(own_task(tmp_path, [row_of([5, 6, 7], "6")], doc_to_choice=source), row)
    assert (rendered["choices"], rendered["gold"]) == (texts, 1)
    assert rendered["prefix"].endswith(f"A: {texts[1]}\n\n")


def test_numbers_written_in_the_task_file_are_their_text(tmp_path):
    row = row_of("of no use", 2)
    rendered = render(own_task(tmp_path, [row], doc_to_choice=[10, 20, 30]), row)
    assert (rendered["choices"], rendered["gold"]) == (["10", "20", "30"], 2)


def generating(tmp_path, rows, **fields):
    task = {"output_type": "generate_until", "doc_to_choice": None, "generation_kwargs": {"until": ["\n"]}, **fields}
    task = {"metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}], **task}
    return own_task(tmp_path, rows, **task)


@pytest.mark.parametrize(
    ("first", "answer", "reason"),
    [
        (
            "Paris",
            "['Paris', 'paris']",
            "right answer (field answer) is a list written as text; let a template read it",
        ),
        ("Paris", '["Paris"]', "is a list written as text"),
        ("Paris", ["Paris", "paris"], "right answer (field answer) is a list, in the first row a text"),
        (["Paris"], "Paris", "right answer (field answer) is a text, in the first row a list"),
        (["Paris"], [], "right answer (field answer) is an empty list"),
        (["Paris"], [["Paris"]], "right answer (field answer) is list, not text"),
        ("Paris", {"text": "Paris"}, "answer is dict, not text"),
        ("Paris", True, "answer is true or false, not text"),
        ("Paris", None, "answer is NoneType, not text"),
    ],
)
def test_a_generated_answer_of_another_kind_is_not_taken_apart(tmp_path, first, answer, reason):
    with pytest.raises(UnusableRow) as caught:
        render(generating(tmp_path, [row_of("", first)]), row_of("", answer))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("first", "answer", "text"),
    [("Paris", "[3, 4]", "[3, 4]"), ("1", 7, "7"), ("1", 0.5, "0.5"), (["a"], ["Paris", "paris"], "Paris")],
)
def test_a_generated_answer_is_shown_as_its_text(tmp_path, first, answer, text):
    rendered = render(generating(tmp_path, [row_of("", first)]), row_of("", answer))
    assert (rendered["choices"], rendered["gold"]) == ([text], 0)
    assert rendered["prefix"].endswith(f"A: {text}\n\n")


def test_an_object_that_a_template_would_print_is_refused(tmp_path):
    rows = [row_of("", {"text": "Paris"})]
    with pytest.raises(UnusableRow, match="field answer is dict, not text"):
        render(generating(tmp_path, rows, doc_to_target="{{answer}}"), rows[0])


@pytest.mark.parametrize("answer", [-1, 3, 2])
def test_an_index_that_no_choice_has_is_no_answer(tmp_path, answer):
    task = generating(tmp_path, [row_of("", 1)], doc_to_choice=["no", "yes"])
    with pytest.raises(UnusableRow, match=rf"right answer {answer} is not among the 2 choices \(field answer\)"):
        render(task, row_of("", answer))


def test_halves_of_a_character_that_json_wrote_as_two_are_no_text(tmp_path):
    task = own_task(tmp_path, [row_of('["no", "yes"]')], doc_to_choice="{{options}}", doc_to_target=1)
    assert render(task, row_of('["no", "😀"]'))["choices"] == ["no", "😀"]
    with pytest.raises(UnusableRow, match="choice holds half of a surrogate pair; write the character itself"):
        render(task, row_of(json.dumps(["no", "😀"])))
