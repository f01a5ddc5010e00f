import pytest

import lm_harness
from iclscope.runtime.errors import StudyError
from iclscope.tasks import harness
from tasks_of_tests import OWN, QUESTIONS, json_to_yaml, load, write_task

BOOLQ = [
    {"question": "is ice cold", "passage": "Ice -- Ice is frozen water.", "idx": 0, "label": 1},
    {"question": "does naïve {{ x }} work", "passage": "It 'does'\n\nnot.", "idx": 1, "label": 0},
]

FIVE = {"label": list("ABCDE"), "text": ["bank", "new york", "it's", '"mall"', "sea"]}

COMMONSENSE = [
    {"id": "a", "question": " Where is it? ", "choices": FIVE, "answerKey": "A"},
    {"id": "b", "question": "Who?", "choices": FIVE, "answerKey": "E"},
]

ASDIV = [
    {"body": "Ann has 3 apples.", "question": "How many?", "answer": "3 (apples)"},
    {"body": "Bo has 1,200 pears.", "question": "How many?", "answer": "1,200 (pears)"},
    {"body": "Cy pays 2.50 dollars.", "question": "How much?", "answer": "2.50"},
]


@pytest.mark.parametrize(
    ("name", "rows", "folder"),
    [("boolq", BOOLQ, "super_glue/boolq"), ("commonsense_qa", COMMONSENSE, "commonsense_qa")],
)
def test_own_task_files_say_what_the_harness_says(name, rows, folder):
    own, theirs = load(name, rows), load(name, rows, lm_harness.TASKS / folder)
    for demonstration in rows:
        for item in rows:
            assert lm_harness.one_shot(own, demonstration, item) == lm_harness.one_shot(theirs, demonstration, item)
            assert lm_harness.zero_shot(own, item) == lm_harness.zero_shot(theirs, item)
            assert own.doc_to_choice(item) == theirs.doc_to_choice(item)
            assert own.doc_to_target(item) == theirs.doc_to_target(item)
    fields = ("dataset_path", "dataset_name", "training_split", "validation_split", "test_split", "fewshot_split")
    assert [own.config[f] for f in fields] == [theirs.config[f] for f in fields]
    assert own.config.target_delimiter == theirs.config.target_delimiter


def test_own_arithmetic_task_asks_for_the_bare_number():
    task = load("asdiv_generate", ASDIV)
    assert task.doc_to_text(ASDIV[0]) == "Ann has 3 apples.\nQuestion: How many?\nAnswer:"
    assert [task.doc_to_target(row) for row in ASDIV] == ["3", "1,200", "2.50"]
    assert harness.stop_sequences(task) == ["\n"]
    assert harness.max_new_tokens(task) == 16


@pytest.mark.parametrize(
    ("row", "text", "value"),
    [
        (0, " 3", 1.0),
        (0, " 3 apples", 1.0),
        (0, " The answer is 3.", 1.0),
        (0, " $3.00", 1.0),
        (0, " 3,", 1.0),
        (0, " 33", 0.0),
        (0, " 3.5", 0.0),
        (0, " -3", 0.0),
        (0, " three", 0.0),
        (0, "", 0.0),
        (1, " 1200 pears", 1.0),
        (1, " 1,200", 1.0),
        (1, " 1, 200", 0.0),
        (2, " 2.50", 1.0),
    ],
)
def test_own_arithmetic_task_compares_numbers(row, text, value):
    scores = harness.score_generation(load("asdiv_generate", ASDIV), ASDIV[row], text)
    assert scores == [{"filter": "number", "metric": "exact_match", "value": value}]


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"output_type": "loglikelihood"}, "has output type loglikelihood"),
        ({"output_type": "loglikelihood_rolling"}, "has output type loglikelihood_rolling"),
        ({"generation_kwargs": {"do_sample": True, "until": ["\n"]}}, "at random"),
        ({"generation_kwargs": {"temperature": 0.7, "until": ["\n"]}}, "at random"),
        ({"repeats": 8}, "at random"),
        ({"unsafe_code": True}, "runs generated code"),
        ({"doc_to_image": ["image"]}, "images or sound"),
        ({"description": "About {{subject}}.\n"}, "description that changes"),
        ({"output_type": "multiple_choice", "process_results": "f"}, "a function of its own"),
        ({"fewshot_config": {"process_docs": "f"}}, "treats demonstrations apart"),
        ({"class": "X"}, "written in Python"),
    ],
)
def test_definition_that_we_cannot_match_is_refused(tmp_path, fields, part):
    write_task(tmp_path, **fields)
    with pytest.raises(StudyError) as caught:
        harness.task_config("mine", tmp_path, "datasets.d")
    assert str(caught.value).startswith("datasets.d.task: mine ")
    assert part in str(caught.value)
    assert "supported are multiple_choice tasks" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "row", "part"),
    [
        ({"doc_to_text": "0", "doc_to_choice": ["a", "b"]}, {}, "a prompt per choice"),
        ({"doc_to_target": "[0, 1]", "doc_to_choice": ["a", "b"]}, {}, "several right choices"),
        ({"doc_to_text": "stem"}, {}, "reads the field stem, which no row has"),
        ({"doc_to_text": "{{stem}}"}, {}, "'stem' is undefined"),
        ({"doc_to_choice": "{{options}}"}, {"options": 5}, "does not fit the rows"),
    ],
)
def test_definition_that_does_not_fit_the_rows_is_refused(tmp_path, fields, row, part):
    write_task(tmp_path, output_type="multiple_choice", generation_kwargs=None, **fields)
    with pytest.raises(StudyError) as caught:
        load("mine", [{"question": "What?", "answer": "0", **row}] * 20, tmp_path)
    assert str(caught.value).startswith("datasets.mine.task: mine ")
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"doc_to_txt": "{{question}}"}, "has an unknown field doc_to_txt; did you mean doc_to_text?"),
        ({"colour": "blue"}, "has an unknown field colour; take it out"),
        ({"fewshot_config": {"doc_to_targt": "x"}}, "unknown field fewshot_config.doc_to_targt; did you mean doc_to_t"),
        ({"description": 5}, "description must be text, found int"),
        ({"target_delimiter": ["a"]}, "target_delimiter must be text, found list"),
        ({"fewshot_config": {"target_delimiter": 1}}, "fewshot_config.target_delimiter must be text, found int"),
        ({"process_docs": "utils.f"}, "process_docs must be a function, as in `process_docs: !function utils.name`"),
        ({"process_results": "utils.f"}, "process_results must be a function"),
        ({"generation_kwargs": {"until": [1]}}, "generation_kwargs.until must be a text or a list of texts, found [1]"),
        ({"generation_kwargs": {"until": 7}}, "generation_kwargs.until must be a text"),
        ({"metric_list": {"metric": "exact_match"}}, "metric_list must be a list, each entry of it with a key metric"),
        ({"metric_list": ["exact_match"]}, "metric_list must be a list, each entry"),
        ({"filter_list": ["regex"]}, "filter_list must be a list, each entry of it with a key filter"),
        ({"filter_list": [{"name": "a", "filter": [{"function": "regx"}]}]}, "filter a of filter_list cannot be built"),
        (
            {"filter_list": [{"name": "a", "filter": [{"function": "regex", "regex_pattern": "("}]}]},
            "filter a of filter_list cannot be built (missing )",
        ),
        (
            {"filter_list": [{"name": "a", "filter": [{"function": "regex", "pattern": "a"}]}]},
            "filter a of filter_list cannot be built",
        ),
    ],
)
def test_a_mistake_in_a_task_file_is_not_blamed_on_the_rows(tmp_path, fields, part):
    write_task(tmp_path, **fields)
    with pytest.raises(StudyError) as caught:
        harness.task_config("mine", tmp_path, "datasets.d")
    assert str(caught.value).startswith("datasets.d.task: mine")
    assert part in str(caught.value)


def test_a_description_by_a_function_is_refused(tmp_path):
    (tmp_path / "words.py").write_text("def f(doc):\n    return 'Answer.'\n")
    write_task(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text("description: !function words.f\n" + "\n".join(json_to_yaml(file)))
    with pytest.raises(StudyError, match=r"datasets\.d\.task: mine: description must be text, found function"):
        harness.task_config("mine", tmp_path, "datasets.d")


def test_no_rows_are_refused(tmp_path):
    write_task(tmp_path)
    with pytest.raises(StudyError, match="does not fit the rows"):
        load("mine", [], tmp_path)


def test_first_rows_may_be_broken(tmp_path):
    write_task(tmp_path, doc_to_text="question")
    rows = [{"answer": "x"}, {"question": None, "answer": "x"}, *QUESTIONS]
    assert load("mine", rows, tmp_path).doc_to_text(QUESTIONS[0]) == "What?"


def test_process_docs_sees_the_rows_once(tmp_path):
    (tmp_path / "helper.py").write_text(
        "def double(docs):\n    return docs.map(lambda d: {'answer': d['answer'] * 2})\n"
    )
    write_task(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text("process_docs: !function helper.double\n" + "\n".join(json_to_yaml(file)))
    config = harness.task_config("mine", tmp_path, "k")
    rows = harness.processed(config, QUESTIONS, "k")
    assert rows == [{"question": "What?", "answer": "thatthat"}]
    assert harness.build_task(config, rows, "k").doc_to_target(rows[0]) == "thatthat"
    with pytest.raises(StudyError, match=r"k\.task: process_docs of mine fails"):
        harness.processed(config, [{"question": "What?"}], "k")


def test_broken_task_file_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("task: [unclosed\n")
    with pytest.raises(StudyError, match=r"datasets\.d\.task: .*mine\.yaml defines no task mine"):
        harness.task_config("mine", tmp_path, "datasets.d")


def test_tasks_of_the_harness_are_found_and_unknown_ones_explained(tmp_path):
    assert harness.task_config("gsm8k", OWN, "k")["dataset_path"] == "openai/gsm8k"
    with pytest.raises(StudyError) as caught:
        harness.task_config("commonsense-qa", OWN, "datasets.d")
    assert str(caught.value).startswith("datasets.d.task: neither ")
    assert "did you mean commonsense_qa" in str(caught.value)
    with pytest.raises(StudyError, match=r"datasets\.d\.task: mmlu is a group of tasks; name one task, such as mmlu_"):
        harness.task_config("mmlu", OWN, "datasets.d")
    with pytest.raises(StudyError, match="ai2_arc is a group of tasks; name one task, such as arc_challenge, arc_easy"):
        harness.task_config("ai2_arc", OWN, "datasets.d")
    with pytest.raises(StudyError, match="put a file"):
        harness.task_config("§§§", tmp_path, "datasets.d")


@pytest.mark.parametrize("name", ["boolq", "arc_challenge", "gsm8k", "openbookqa", "anli_r1"])
def test_a_task_of_the_harness_is_found_without_reading_all_of_them(name):
    found, everywhere = harness._harness_folder(name), harness._harness_tasks()
    assert found[name].yaml_path == everywhere[name].yaml_path
