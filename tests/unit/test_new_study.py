"""A study that `new` writes asks what the file asks and knows its right answers, whatever the columns look like."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from iclscope.runtime import settings
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Task
from iclscope.sources import new_study, prepare_data
from iclscope.tasks import columns, harness
from iclscope.tasks.columns import Asked
from iclscope.tasks.pool import make_pool
from iclscope.tasks.rows import read_rows

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
LETTERS = "ABCDEFGH"
WORDS = ["Lima", "Cusco", "it's", 'say "no"', "a {brace}", "Zoë", "[x]", "two words", "C:\\dir", "0.50", "yes", "no"]

# Question, choices, index of the right one.
Facts = list[tuple[str, list[str], int]]


def facts(count=16, choices=4, words=WORDS, seed=1):
    """Planted facts: every index is right somewhere, so that it shows where numbers begin."""
    draw = random.Random(seed)
    drawn = [draw.sample(words, choices) for _ in range(count)]
    return [(f"What is {n}, “really” {{x}}?", options, n % choices) for n, options in enumerate(drawn)]


# How choices may stand in a row.
SHAPES: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "list": lambda options: {"choices": options},
    "list as JSON": lambda options: {"choices": json.dumps(options)},
    "list as Python": lambda options: {"options": str(options)},
    "bars": lambda options: {"options": " | ".join(options)},
    "semicolons": lambda options: {"choices": ";".join(options)},
    "lines": lambda options: {"choices": "\n".join(options)},
    "letters": lambda options: dict(zip("ABCD", options, strict=True)),
    "option_a": lambda options: {f"option_{letter}": one for letter, one in zip("abcd", options, strict=True)},
    "Option A": lambda options: {f"Option {letter}": one for letter, one in zip("ABCD", options, strict=True)},
    "choice_0": lambda options: {f"choice_{n}": one for n, one in enumerate(options)},
    "option1": lambda options: {f"option{n}": one for n, one in enumerate(options, start=1)},
    "labels and texts": lambda options: {"choices": {"text": options, "label": list("ABCD")}},
    "object": lambda options: {"options": dict(zip("ABCD", options, strict=True))},
    "objects": lambda options: {"choices": [{"label": a, "text": b} for a, b in zip("ABCD", options, strict=True)]},
}

# How the right one may be told, under the name of its column.
ANSWERS: dict[str, tuple[str, Callable[[list[str], int], Any]]] = {
    "text": ("answer", lambda options, right: options[right]),
    "letter": ("answerKey", lambda options, right: LETTERS[right]),
    "small letter": ("correct_option", lambda options, right: f"({LETTERS[right].lower()})"),
    "from 0": ("label", lambda options, right: right),
    "from 1": ("answer_idx", lambda options, right: right + 1),
    "from 0 as text": ("label", lambda options, right: str(right)),
    "from 1 as text": ("Correct Answer", lambda options, right: f"{right + 1}"),
}


def rows_of(planted, shape, answer):
    column, told = ANSWERS[answer]
    return [
        {"id": n, "question": question, **SHAPES[shape](options), column: told(options, right)}
        for n, (question, options, right) in enumerate(planted)
    ]


def write(path, rows):
    """Rows in a file of the kind that its ending names."""
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".json":
            path.write_text(json.dumps(rows))
        case ".parquet":
            pl.DataFrame(rows).write_parquet(path)
        case ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
                writer.writeheader()
                writer.writerows(rows)
    return path


def pool_of(folder):
    """The pool of a study as the workflow makes it from its configuration and task file, without counting tokens."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    ((name, entry),) = config["datasets"].items()
    task = Task(entry["task"], folder / "tasks", f"datasets.{name}")
    data = folder / "data"
    prepare_data.run(task=task, settings=settings.source(entry), wheel=None, data_out=data)
    definition = harness.task_config(*task)
    ((split, _),) = entry["files"].items()
    rows = harness.processed(definition, read_rows(data / f"{split}.jsonl"), task.key, config["seed"], name, split)
    built = harness.build_task(definition, rows, task.key)
    roles = {"candidate": split, "item": split}
    frame, _ = make_pool(built, {split: rows}, roles, name, entry, config["seed"], None)
    return config, frame


def study_of(tmp_path, rows, file="data.jsonl", **asked):
    """The pool of the study that `new` writes for these rows, and what it says."""
    folder = tmp_path / f"study-{len(list(tmp_path.iterdir()))}"
    said = new_study.run(file=str(write(tmp_path / file, rows)), folder=str(folder), asked=Asked(**asked))
    config, frame = pool_of(folder)
    return config, frame.filter(role="item"), said


def answers_of(frame):
    """Question → choices and right answer, as an item; the demonstration shows the same answer."""
    found = {}
    for row in frame.iter_rows(named=True):
        question = row["question"].partition(": ")[2].removesuffix("\nAnswer:")
        assert row["prefix"][row["answer_start"] : row["answer_end"]] == row["choices"][row["gold"]]
        found[question] = (row["choices"], row["choices"][row["gold"]])
    return found


def assert_known(frame, planted):
    """That every question is asked with its own choices, and its right answer known."""
    assert answers_of(frame) == {question: (options, options[right]) for question, options, right in planted}


PAIRS = [(shape, list(ANSWERS)[(n + step) % len(ANSWERS)]) for n, shape in enumerate(SHAPES) for step in (0, 2, 5)]


@pytest.mark.parametrize(("shape", "answer"), PAIRS)
def test_right_answers_are_the_files(tmp_path, shape, answer):
    planted = facts()
    _, frame, _ = study_of(tmp_path, rows_of(planted, shape, answer))
    assert_known(frame, planted)


@pytest.mark.parametrize(
    ("file", "shape", "answer"),
    [
        ("data.csv", "letters", "letter"),
        ("data.csv", "Option A", "from 1"),
        ("data.csv", "choice_0", "from 0"),
        ("data.csv", "list as JSON", "text"),
        ("data.csv", "bars", "from 1"),
        ("data.parquet", "list", "from 0"),
        ("data.parquet", "labels and texts", "letter"),
        ("data.parquet", "object", "text"),
        ("data.json", "objects", "letter"),
    ],
)
def test_every_kind_of_file_is_read(tmp_path, file, shape, answer):
    planted = facts()
    _, frame, _ = study_of(tmp_path, rows_of(planted, shape, answer), file=file)
    assert_known(frame, planted)


PLAIN_SHAPES = sorted(set(SHAPES) - {"bars", "semicolons", "lines"})  # a sign that splits may stand in any text
TEXTS = st.one_of(
    st.sampled_from(["0", "1", "2", "3", "4", "A", "b", "C", "(D)", "yes", "[1, 2]", "{{x}}", "{% if %}", "a, b"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip),
)


@given(
    st.lists(st.lists(TEXTS, min_size=4, max_size=4, unique=True), min_size=10, max_size=13),
    st.sampled_from(PLAIN_SHAPES),
    st.sampled_from(sorted(ANSWERS)),
    st.randoms(use_true_random=False),
)
def test_no_answer_is_read_wrongly_whatever_the_texts_are(choices, shape, answer, draw):
    planted = [(f"Which is {n}?", options, draw.randrange(4)) for n, options in enumerate(choices)]
    rows = json.loads(json.dumps(rows_of(planted, shape, answer)))
    try:
        reading = columns.read(rows, Asked())
        rows = [{reading.renamed.get(column, column): value for column, value in row.items()} for row in rows]
        task = harness.build_task({"task": "planted", "test_split": "rows", **reading.fields}, rows, "datasets.d")
        frame, _ = make_pool(task, {"rows": rows}, {"candidate": "rows", "item": "rows"}, "d", {}, 1, None)
    except StudyError:
        return  # one sentence instead of a guess
    known = {question: (options, options[right]) for question, options, right in planted}
    for question, found in answers_of(frame.filter(role="item")).items():
        assert found == known[question]


KNOWN: dict[str, Callable[[str, list[str], int, int], dict[str, Any]]] = {
    "arc": lambda q, c, r, n: {
        "id": f"Mercury_{n}", "question": q,
        "choices": {"text": c, "label": list("1234" if n % 5 == 4 else "ABCD")},
        "answerKey": ("1234" if n % 5 == 4 else "ABCD")[r],
    },
    "openbookqa": lambda q, c, r, n: {
        "question_stem": q, "choices": {"text": c, "label": list("ABCD")}, "answerKey": "ABCD"[r]
    },
    "mmlu": lambda q, c, r, n: {"question": q, "subject": "law", "choices": c, "answer": r},
    "medmcqa": lambda q, c, r, n: {
        "id": f"{n}", "question": q, "opa": c[0], "opb": c[1], "opc": c[2], "opd": c[3], "cop": r,
        "choice_type": "single", "exp": f"Since {n}.", "subject_name": "law", "topic_name": None,
    },
    "medqa": lambda q, c, r, n: {
        "question": q, "answer": c[r], "options": dict(zip("ABCD", c, strict=True)), "meta_info": "step1",
        "answer_idx": "ABCD"[r],
    },
    "sciq": lambda q, c, r, n: {
        "question": q, **{f"distractor{k}": one for k, one in enumerate([*c[:r], *c[r + 1 :]], start=1)},
        "correct_answer": c[r],
    },
    "hellaswag": lambda q, c, r, n: {"ind": n, "ctx": q, "endings": c, "source_id": f"a~{n}", "label": str(r)},
    "race": lambda q, c, r, n: {
        "example_id": f"high{n}.txt", "question": q, "options": c, "answer": "ABCD"[r]
    },
    "swag": lambda q, c, r, n: {
        "sent1": "Once.", "question": q, **{f"ending{k}": o for k, o in enumerate(c)}, "label": r
    },
    "siqa": lambda q, c, r, n: {
        "question": q, **{f"answer{a}": o for a, o in zip("ABCD", c, strict=True)}, "label": str(r + 1)
    },
    "german": lambda q, c, r, n: {"Frage": q, "A": c[0], "B": c[1], "C": c[2], "D": c[3], "Lösung": "ABCD"[r]},
}  # fmt: skip


@pytest.mark.parametrize("schema", KNOWN)
def test_columns_of_well_known_data_sets_are_seen(tmp_path, schema):
    planted = facts(20)
    rows = [KNOWN[schema](*fact, n) for n, fact in enumerate(planted)]
    _, frame, _ = study_of(tmp_path, rows)
    assert {question: (sorted(c), right) for question, (c, right) in answers_of(frame).items()} == {
        question: (sorted(options), options[right]) for question, options, right in planted
    }
