"""Files of rows that tests of new studies write."""

import csv
import json
import random
from collections.abc import Callable
from typing import Any

import polars as pl
import yaml

from iclscope.runtime.configuration import settings
from iclscope.runtime.jobs import Task
from iclscope.sources import new_study, prepare_data
from iclscope.tasks import harness
from iclscope.tasks.columns import Asked
from iclscope.tasks.pool import make_pool
from iclscope.tasks.rows import read_rows

LETTERS = "ABCDEFGH"

WORDS = ["Lima", "Cusco", "it's", 'say "no"', "a {brace}", "Zoë", "[x]", "two words", "C:\\dir", "0.50", "yes", "no"]


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
