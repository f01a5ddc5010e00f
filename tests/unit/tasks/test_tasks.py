import json
import random
from pathlib import Path

import datasets
import lm_eval
import numpy as np
import pytest
import torch
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask

import lm_harness
from iclscope.runtime.errors import StudyError
from iclscope.tasks import harness

OWN = Path(__file__).parents[3] / "config" / "tasks"

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
GSM8K = [
    {"question": "One and one?", "answer": "1 + 1 = <<1+1=2>>2.\n#### 2"},
    {"question": "A thousand and one?", "answer": "It is 1,001.\n#### 1,001"},
]


def load(name, rows, folder=OWN):
    return harness.load_task(name, folder, {"test": rows}, f"datasets.{name}")


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


class Parrot(LM):
    """A model of the harness that gives prepared answers."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def generate_until(self, requests, disable_tqdm=False):
        return self.answers[: len(requests)]

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def test_generated_answers_score_as_in_the_harness():
    answers = [" 1 + 1 = 2\n#### 2", " I say 1001", " #### 1,001 of 3", " no idea", " #### 2.", "$2"]
    rows = [GSM8K[i] for i in (0, 1, 1, 0, 0, 0)]
    task = load("gsm8k", rows, lm_harness.TASKS / "gsm8k")
    theirs = harness.task_config("gsm8k", lm_harness.TASKS / "gsm8k", "k")
    split = datasets.Dataset.from_list(rows)
    loaded = ConfigurableTask(
        config={
            **{k: v for k, v in theirs.items() if k not in ("tag", "metadata")},
            "custom_dataset": lambda: {"train": split, "test": split},
            "num_fewshot": 0,
        }
    )
    result = lm_eval.evaluate(Parrot(answers), {"gsm8k": loaded}, bootstrap_iters=0, log_samples=True)
    expected = {(s["doc_id"], s["filter"]): s["exact_match"] for s in result["samples"]["gsm8k"]}
    found = {
        (i, score["filter"]): score["value"]
        for i, (row, text) in enumerate(zip(rows, answers, strict=True))
        for score in harness.score_generation(task, row, text)
        if score["metric"] == "exact_match"
    }
    assert found == expected
    assert len(found) == 12
    assert 0 < sum(found.values()) < 12


def write_task(folder, name="mine", **fields):
    defaults = {
        "task": name,
        "dataset_path": "a/b",
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    chosen = {field: value for field, value in {**defaults, **fields}.items() if value is not None}
    (folder / f"{name}.yaml").write_text(json.dumps(chosen))  # JSON is YAML


QUESTIONS = [{"question": "What?", "answer": "that"}]


@pytest.mark.parametrize(
    ("settings", "stops", "tokens"),
    [
        ({"until": ["\n", "Q:"], "max_gen_toks": 7}, ["\n", "Q:"], 7),
        ({"until": "stop", "max_new_tokens": 9}, ["stop"], 9),
        ({"do_sample": False}, ["\n\n"], 256),
        (None, ["\n\n"], 256),
    ],
)
def test_end_of_an_answer_is_the_harness_own(tmp_path, settings, stops, tokens):
    write_task(tmp_path, generation_kwargs=settings)
    task = load("mine", QUESTIONS, tmp_path)
    assert harness.stop_sequences(task) == stops
    assert harness.max_new_tokens(task) == tokens


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


MEAN = {"aggregation": "mean", "higher_is_better": True}
METRICS = {
    "distance": "def f(references, predictions):\n    return float(abs(len(references[0]) - len(predictions[0])))\n",
    "share": "def f(references, predictions):\n    return 1.0 if references[0] == predictions[0] else 0.25\n",
    "wrong": "def f(references, predictions):\n    return float(references[0] != predictions[0])\n",
    "percent": "def f(references, predictions):\n    return 100.0\n",
    "nan": "def f(references, predictions):\n    return float('nan')\n",
    "boolean": "import numpy as n\ndef f(references, predictions):\n    return n.bool_(references == predictions)\n",
    "pair": "def f(references, predictions):\n    return (references[0], predictions[0])\n",
}


def scored(tmp_path, metrics, text, aggregation="mean"):
    """Accuracy and scores of an answer to the first question; metrics: name → whether higher is better."""
    lines = []
    for name, higher in metrics.items():
        code = METRICS[name].replace("def f(", f"def {name}(")
        (tmp_path / f"metric_{name}.py").write_text(code + "def median(values):\n    return sorted(values)[3]\n")
        agg = aggregation if aggregation == "mean" else f"!function metric_{name}.median"
        better = "" if higher is None else f", higher_is_better: {json.dumps(higher)}"
        lines.append(f"  - {{metric: !function metric_{name}.{name}, aggregation: {agg}{better}}}")
    write_task(tmp_path, metric_list=None)
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join([*json_to_yaml(file), "metric_list:", *lines, ""]))
    task = load("mine", QUESTIONS, tmp_path)
    scores = harness.score_generation(task, QUESTIONS[0], text)
    return harness.accuracy(task, scores, "datasets.d"), scores


@pytest.mark.parametrize(
    ("metrics", "text", "accuracy", "first"),
    [
        ({"share": True, "wrong": False}, "that", 1.0, "share"),
        ({"share": True}, "this", 0.25, "share"),
        ({"wrong": False, "share": True}, "that", 1.0, "wrong"),
        ({"wrong": False}, "this", 0.0, "wrong"),
        ({"boolean": True}, "that", 1.0, "boolean"),
        ({"pair": True, "share": True}, "this", 0.25, "share"),
    ],
)
def test_accuracy_is_the_first_share_and_more_of_it_is_better(tmp_path, metrics, text, accuracy, first):
    value, scores = scored(tmp_path, metrics, text)
    assert value == accuracy
    assert scores[0]["metric"] == first
    assert {score["metric"] for score in scores} == set(metrics) - {"pair"}


@pytest.mark.parametrize(
    ("metrics", "aggregation", "part"),
    [
        ({"distance": False}, "mean", "metric distance gives 13 for an answer, and only a share from 0 to 1"),
        ({"percent": True}, "mean", "metric percent gives 100 for an answer"),
        ({"nan": True}, "mean", "metric nan gives nan for an answer"),
        ({"share": "false"}, "mean", "set higher_is_better of metric share to true or false, found 'false'"),
        (
            {"share": True},
            "median",
            "has no metric that scores a single answer and is averaged over them (it has share)",
        ),
        ({"pair": True}, "mean", "has no metric that scores a single answer and is averaged over them (it has pair)"),
    ],
)
def test_a_number_that_is_no_accuracy_is_not_called_one(tmp_path, metrics, aggregation, part):
    with pytest.raises(StudyError) as caught:
        scored(tmp_path, metrics, "a much longer one", aggregation)
    assert str(caught.value).startswith("datasets.d.task: mine")
    assert part in str(caught.value)


def test_a_number_beside_the_metrics_is_no_accuracy(tmp_path):
    (tmp_path / "both.py").write_text("def f(doc, results):\n    return {'length': 1.0, 'exact_match': 0.5}\n")
    write_task(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text("process_results: !function both.f\n" + "\n".join(json_to_yaml(file)))
    task = load("mine", QUESTIONS, tmp_path)
    scores = harness.score_generation(task, QUESTIONS[0], "x")
    assert [score["metric"] for score in scores] == ["exact_match", "length"]
    assert harness.accuracy(task, scores, "k") == 0.5


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


RANDOM = {
    "random": "import random\ndef f(docs):\n    rows = list(docs)\n    random.shuffle(rows)\n    return rows\n",
    "numpy": "import numpy\ndef f(docs):\n    return [docs[int(i)] for i in numpy.random.permutation(len(docs))]\n",
    "torch": "import torch\ndef f(docs):\n    return [docs[int(i)] for i in torch.randperm(len(docs))]\n",
    "datasets": "def f(docs):\n    return docs.shuffle()\n",
    "at import": "import random\nN = str(random.random())\ndef f(docs):\n    return [{**d, "
    "'answer': N} for d in docs]\n",
}
UNSEEDED = {
    "numpy": "import numpy\ndef f(docs):\n    g = numpy.random.default_rng()\n    return [docs[int(i)] for i in "
    "g.permutation(len(docs))]\n",
    "random": "import random\ndef f(docs):\n    return random.Random().sample(list(docs), len(docs))\n",
    "time": "import time\ndef f(docs):\n    return [{**d, 'answer': str(time.time_ns())} for d in docs]\n",
    "uuid": "import uuid\ndef f(docs):\n    return [{**d, 'answer': str(uuid.uuid4())} for d in docs]\n",
    "memory": "N = []\ndef f(docs):\n    N.append(1)\n    return [{**d, 'answer': str(len(N))} for d in docs]\n",
}


def processing(tmp_path, code, name):
    (tmp_path / f"{name}.py").write_text(code)
    write_task(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text(f"process_docs: !function {name}.f\n" + "\n".join(json_to_yaml(file)))


@pytest.mark.parametrize("how", RANDOM)
def test_random_numbers_of_a_task_follow_the_seed(tmp_path, how):
    many = [{"question": f"What is {i}?", "answer": str(i)} for i in range(20)]
    made = []
    for run, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(run)  # a module is loaded once per place
        folder.mkdir()
        processing(folder, RANDOM[how], "helper")
        random.seed(run)
        np.random.seed(run)  # noqa: NPY002
        torch.manual_seed(run)
        before = random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002
        made.append(harness.processed(harness.task_config("mine", folder, "k"), many, "k", seed, "d", "test"))
        assert (random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert made[0] == made[1]
    assert sorted(row["question"] for row in made[0]) == sorted(row["question"] for row in many)
    assert (made[0] == made[2]) == (how == "at import")


@pytest.mark.parametrize("how", UNSEEDED)
def test_randomness_that_no_seed_reaches_is_refused(tmp_path, how):
    processing(tmp_path, UNSEEDED[how], f"unseeded_{how}")
    many = [{"question": f"What is {i}?", "answer": str(i)} for i in range(20)]
    with pytest.raises(StudyError, match=r"^k\.task: process_docs of mine gives other rows when it runs again; let it"):
        harness.processed(harness.task_config("mine", tmp_path, "k"), many, "k", 1)


def test_a_guess_of_a_metric_is_the_same_on_every_run(tmp_path):
    (tmp_path / "guesser.py").write_text(
        "import random\ndef f(doc, results):\n    return {'acc': float(random.random() < 0.5)}\n"
    )
    write_task(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text("process_results: !function guesser.f\n" + "\n".join(json_to_yaml(file)))
    task = load("mine", QUESTIONS, tmp_path)
    guesses = [[harness.score_generation(task, QUESTIONS[0], str(i))[0]["value"] for i in range(40)] for _ in range(2)]
    assert guesses[0] == guesses[1]
    assert 5 < sum(guesses[0]) < 35


def json_to_yaml(file):
    return [f"{field}: {json.dumps(value)}" for field, value in json.loads(file.read_text()).items()]


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
