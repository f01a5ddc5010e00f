"""How a task scores generated answers, and that nothing random escapes the seed."""

import json
import random

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
from tasks_of_tests import QUESTIONS, json_to_yaml, load, write_task

GSM8K = [
    {"question": "One and one?", "answer": "1 + 1 = <<1+1=2>>2.\n#### 2"},
    {"question": "A thousand and one?", "answer": "It is 1,001.\n#### 1,001"},
]


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
    "seconds": "import random, time\ndef f(docs):\n    r = random.Random(int(time.time()))\n    return "
    "r.sample(list(docs), len(docs))\n",
    "uuid": "import uuid\ndef f(docs):\n    return [{**d, 'answer': str(uuid.uuid4())} for d in docs]\n",
    "memory": "N = []\ndef f(docs):\n    N.append(1)\n    return [{**d, 'answer': str(len(N))} for d in docs]\n",
}


def processing(tmp_path, code, name):
    (tmp_path / f"{name}.py").write_text(code)
    write_task(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text(f"process_docs: !function {name}.f\n" + "\n".join(json_to_yaml(file)))


@pytest.mark.parametrize("how", RANDOM)
def test_random_numbers_of_a_task_follow_the_seed(tmp_path, how, monkeypatch):
    monkeypatch.setattr(harness, "TICK", 0)
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
def test_randomness_that_no_seed_reaches_is_refused(tmp_path, how, monkeypatch):
    if how != "seconds":
        monkeypatch.setattr(harness, "TICK", 0)
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
