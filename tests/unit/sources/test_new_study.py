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

from iclscope.__main__ import main
from iclscope.runtime import settings
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Task
from iclscope.sources import new_study, prepare_data
from iclscope.tasks import columns, harness
from iclscope.tasks.columns import Asked
from iclscope.tasks.pool import make_pool
from iclscope.tasks.rows import read_rows

ROOT = Path(__file__).parents[3]
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


class TestChoices:
    def test_columns_of_numbers_are_told_by_their_text(self, tmp_path):
        planted = facts(words=["12", "15", "18", "21", "7", "30"])
        _, frame, _ = study_of(tmp_path, rows_of(planted, "letters", "text"), file="data.csv")
        assert_known(frame, planted)

    def test_the_last_columns_may_be_empty_and_a_gap_drops_the_row(self, tmp_path):
        planted = facts()
        rows = rows_of(planted, "letters", "letter")
        short = [n for n, (_, _, right) in enumerate(planted) if right < 3][:5]
        for n in short:
            rows[n]["D"] = ""
        gap = next(n for n, (_, _, right) in enumerate(planted) if right == 3)
        rows[gap]["B"] = ""
        _, frame, _ = study_of(tmp_path, rows, file="data.csv")
        kept = [
            (question, options[:3] if n in short else options, right)
            for n, (question, options, right) in enumerate(planted)
            if n != gap
        ]
        assert_known(frame, kept)

    def test_an_answer_spelt_with_other_spaces_or_capitals_is_found(self, tmp_path):
        planted = facts(words=["Lima", "Cusco", "Paris", "Rome", "Oslo"])
        rows = rows_of(planted, "letters", "text")
        rows[3]["answer"], rows[4]["answer"] = f" {rows[3]['answer']} ", rows[4]["answer"].upper()
        _, frame, _ = study_of(tmp_path, rows)
        assert_known(frame, planted)

    def test_a_right_answer_may_be_a_column_beside_wrong_ones(self, tmp_path):
        planted = [(question, options, 0) for question, options, _ in facts()]
        names = ("correct", "wrong_1", "wrong_2", "wrong_3")
        rows = [{"question": q, **dict(zip(names, options, strict=True))} for q, options, _ in planted]
        for asked in ({}, {"choices": ["wrong_1", "correct", "wrong_2", "wrong_3"]}):
            _, frame, _ = study_of(tmp_path, rows, **asked)
            assert {q: right for q, (_, right) in answers_of(frame).items()} == {q: o[0] for q, o, _ in planted}

    def test_named_columns_win(self, tmp_path):
        planted = facts()
        rows = [
            {"question": "the same", "really": question, "one": o[0], "two": o[1], "three": o[2], "four": o[3],
             "answer": "unknown", "which": right + 1}
            for question, o, right in planted
        ]  # fmt: skip
        asked = {"question": ["really"], "choices": ["one", "two", "three", "four"], "answer": "which"}
        _, frame, _ = study_of(tmp_path, rows, **asked)
        assert_known(frame, planted)

    def test_lists_beside_the_question_are_not_taken_for_choices(self, tmp_path):
        rows = [
            {"question": f"What is {n} + 1?", "tags": ["sums", "easy"], "answer": f"{n + 1} in all"} for n in range(12)
        ]
        _, frame, _ = study_of(tmp_path, rows)
        assert frame["kind"].unique().to_list() == ["generation"]

    def test_what_a_question_is_about_comes_first_and_makes_clusters(self, tmp_path):
        rows = [
            {"passage": f"Passage {n // 2}.", "question": f"Is {n} odd?", "label": bool(n % 2), "idx": n}
            for n in range(16)
        ]
        config, frame, _ = study_of(tmp_path, rows)
        assert config["datasets"]["data"]["cluster"] == "passage"
        assert frame["question"][0].startswith("Passage: Passage ")
        assert "\nQuestion: Is " in frame["question"][0]
        assert frame["cluster"].n_unique() == frame.height / 2  # whole passages, the others are the candidates'
        assert config["datasets"]["data"]["items"] <= frame.height
        assert config["datasets"]["data"]["candidates"] <= 16 - frame.height
        for row in frame.iter_rows(named=True):
            document = json.loads(row["document"])
            assert row["choices"][row["gold"]] == json.dumps(document["label"])


class TestAnswersWithoutChoices:
    @pytest.mark.parametrize(
        ("file", "labels"),
        [
            ("data.csv", ["positive", "negative"]),
            ("data.csv", ["0", "1"]),
            ("data.csv", ["1", "2", "3"]),
            ("data.csv", ["yes", "no"]),
            ("data.csv", ["True", "False"]),
            ("data.csv", ["0.5", "1.5"]),
            ("data.jsonl", [" spaced", "out "]),
            ("data.jsonl", [1, 4]),
            ("data.jsonl", [0.5, 1.5]),
            ("data.jsonl", [True, False]),
            ("data.jsonl", ["0", "1"]),
            ("data.parquet", [False, True]),
        ],
    )
    def test_few_labels_are_the_choices(self, tmp_path, file, labels):
        rows = [{"text": f"Text {n}.", "label": labels[n % len(labels)]} for n in range(20)]
        _, frame, said = study_of(tmp_path, rows, file=file)
        told = {f"Text {n}.": str(label).strip() for n, label in enumerate(row["label"] for row in rows)}
        if isinstance(labels[0], bool):
            told = {question: label.lower() for question, label in told.items()}
        assert {question: right for question, (_, right) in answers_of(frame).items()} == told
        assert set(frame["choices"][0]) == set(told.values())
        assert ("would tell a model more" in said) == all(label.isdigit() for label in told.values())

    def test_a_label_by_another_name_is_enough_if_it_is_the_only_one(self, tmp_path):
        rows = [{"review": f"Text {n}.", "sentiment": "good" if n % 3 else "bad", "stars": n} for n in range(15)]
        _, frame, _ = study_of(tmp_path, rows, file="data.csv")
        assert frame["question"][0].startswith("Review: Text ")
        assert frame["choices"][0].to_list() == ["bad", "good"]

    @pytest.mark.parametrize(
        "answers",
        [
            [f"{n} apples" for n in range(20)],
            list(range(100, 120)),
            [f" {n} pears\n" for n in range(20)],
            [f"First {n}.\nThen #### {n}" for n in range(20)],
            [[f"{n}", f"number {n}"] for n in range(20)],
            [f"[{n}]" for n in range(20)],
        ],
    )
    def test_other_answers_are_generated(self, tmp_path, answers):
        rows = [{"prompt": f"Question {n}", "completion": answer} for n, answer in enumerate(answers)]
        _, frame, _ = study_of(tmp_path, rows)
        assert frame["kind"].unique().to_list() == ["generation"]
        told = [answer[0] if isinstance(answer, list) else str(answer).strip() for answer in answers]
        assert {q: right for q, (_, right) in answers_of(frame).items()} == {
            f"Question {n}": t for n, t in enumerate(told)
        }

    def test_a_right_generated_answer_counts_as_right(self, tmp_path):
        rows = [{"question": f"Question {n}?", "answer": f"Town {n}"} for n in range(20)]
        study_of(tmp_path, rows)
        (tasks,) = tmp_path.glob("study-*/tasks")
        task = harness.load_task("data", tasks, {"rows": rows}, "datasets.data")
        for text, value in ((" Town 3", 1), ("town 3.", 1), (" Town 31", 0), ("", 0)):
            assert harness.accuracy(task, harness.score_generation(task, rows[3], text), "datasets.data") == value


def refusal(tmp_path, capsys, rows, *words, file="data.csv"):
    """The one sentence with which the command line refuses, having written nothing."""
    folder = tmp_path / "study"
    if rows is not None:
        write(tmp_path / file, rows)
    before = sorted(folder.rglob("*")) if folder.exists() else None
    assert main(["new", str(tmp_path / file), "--folder", str(folder), *words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert (sorted(folder.rglob("*")) if folder.exists() else None) == before
    return printed.err


def quiz(count=12, **more):
    return [{"question": f"Which is {n}?", "A": "x", "B": "y", "answer": "AB"[n % 2], **more} for n in range(count)]


def table(count=12, **columns):
    """Rows of texts that hold their number, or of values in turn."""
    return [
        {
            name: values.format(n) if isinstance(values, str) else values[n % len(values)]
            for name, values in columns.items()
        }
        for n in range(count)
    ]


class TestRefusals:
    @pytest.mark.parametrize(
        ("rows", "words", "wanted"),
        [
            (quiz(), "--answer anser", ["no column anser", "question, A, B, answer", "did you mean answer?"]),
            (quiz(), "--question q", ["--question: there is no column q"]),
            (quiz(), "--choices A,B,C", ["--choices: there is no column C"]),
            (quiz(), "--choices A", ["column A holds no choices", "'x'", "--choices A,B,C,D"]),
            (quiz(answer="none"), "", ["column answer does not say", "'none'", "--answer"]),
            (table(one="x {}", two="y {}"), "", ["holds the answer", "one, two may be it", "--answer"]),
            (table(x="p {}", z="q {}", answer="{} r"), "", ["holds the question", "x, z may be it", "--question"]),
            (table(question="q {}", answer="same"), "", ["column answer holds the same answer"]),
            (table(text="t {}", topic=["a", "b"], emotion=["c", "d"]), "", ["topic, emotion may be it", "--answer"]),
            (
                table(question="q {}", A="x", B="y", C="z", D="u", E="v", answer=[1, 2]),
                "",
                ["the number from 0 or the number from 1", "--answer"],
            ),
            (
                table(question="q {}", A="1", B="0", answer=[0, 1]),
                "",
                ["column answer may be the text or the number from 0", "--answer"],
            ),
            (table(question="q {}", A="x", B="y", answer="AB", label="BA"), "", ["column answer does not say"]),
            (
                table(question="q {}", A="x", B="y", answer=["A", "B"], label=["B", "A"]),
                "",
                ["answer, label may be it", "--answer"],
            ),
            (quiz(9), "", ["9 of 9 rows can be used", "6 candidates and 4 items", "give more rows"]),
            (quiz(4) * 5, "", ["4 of 20 rows can be used", "duplicates"]),
            (quiz(), "--model nowhere", ["--model: nowhere is neither"]),
            (None, "", ["data.csv does not exist"]),
        ],
    )
    def test_what_cannot_be_told_is_one_sentence(self, tmp_path, capsys, rows, words, wanted):
        said = refusal(tmp_path, capsys, rows, *words.split())
        assert all(part in said for part in wanted), said

    def test_text_that_only_looks_like_a_list_is_not_taken_apart(self, tmp_path, capsys):
        rows = [{"question": f"q {n}", "choices": "['x'\n 'y']", "answer": n % 2} for n in range(12)]
        assert "column choices holds no choices that can be read" in refusal(tmp_path, capsys, rows)

    def test_a_study_that_is_there_is_left_alone(self, tmp_path, capsys):
        (tmp_path / "study").mkdir()
        (tmp_path / "study/config.yaml").write_text("mine")
        said = refusal(tmp_path, capsys, quiz())
        assert "study/config.yaml is there already" in said
        assert "--folder" in said
        assert (tmp_path / "study/config.yaml").read_text() == "mine"


class TestConfiguration:
    def test_all_but_the_data_is_the_default_studys(self, tmp_path, default_config):
        config, _, _ = study_of(tmp_path, quiz(200), file="data.csv")
        new = ("datasets", "pathvars")
        assert {k: v for k, v in config.items() if k not in new} == {
            k: v for k, v in default_config.items() if k not in new
        }
        folder = Path(config["pathvars"]["results"]).parent
        assert config["pathvars"] == {
            name: str(folder / name) for name in ("results", "resources", "logs", "benchmarks")
        }
        text = (folder / "config.yaml").read_text()
        remarks = (ROOT / "config/config.yaml").read_text()
        assert remarks[remarks.index("masks:") :] in text

    @pytest.mark.parametrize("count", [10, 11, 14, 20, 31, 60, 95, 107, 300])
    def test_sizes_follow_from_the_rows_and_leave_both_roles_their_own(self, tmp_path, count):
        config, _, _ = study_of(tmp_path, quiz(count), file="data.csv")
        entry = config["datasets"]["data"]
        assert 6 <= entry["candidates"] <= 48
        assert 4 <= entry["items"] <= 48
        assert entry["candidates"] + entry["items"] <= count
        assert entry["candidates"] + entry["items"] >= min(96, 0.85 * count)
        assert entry["block"]["items"] == entry["items"]

    def test_a_model_is_a_name_of_the_hub_or_a_folder_here(self, tmp_path):
        file = str(write(tmp_path / "data.csv", quiz()))
        (tmp_path / "My Model").mkdir()
        for model, wanted in (
            ("Qwen/Qwen2.5-0.5B", {"qwen2.5-0.5b": {"source": "hub", "repo": "Qwen/Qwen2.5-0.5B", "dtype": "float32"}}),
            (
                str(tmp_path / "My Model"),
                {"my-model": {"source": "files", "path": str(tmp_path / "My Model"), "dtype": "float32"}},
            ),
        ):
            folder = tmp_path / model.replace("/", "-")
            new_study.run(file=file, folder=str(folder), model=model)
            config = yaml.safe_load((folder / "config.yaml").read_text())
            assert config["models"] == wanted
            settings.check(config, SCHEMA)

    @pytest.mark.parametrize("stem", ["index", "a b (c)", "2024", "results.json", "_", "yes", "boolq"])
    def test_any_name_of_a_file_becomes_one_of_a_data_set(self, tmp_path, stem):
        planted = facts()
        _, frame, _ = study_of(tmp_path, rows_of(planted, "Option A", "letter"), file=f"{stem}.csv")
        assert_known(frame, planted)

    def test_the_commands_and_prompts_are_printed(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        rows = rows_of(facts(), "letters", "letter")
        write(tmp_path / "quiz.csv", rows)
        assert main(["new", "quiz.csv"]) == 0
        said = capsys.readouterr().out
        assert f"--snakefile {ROOT}/Snakefile --resources gpu=1 --configfile my-study/config.yaml" in said
        assert "columns A, B, C, D" in said
        assert "column answerKey, the label of the right choice" in said
        _, frame = pool_of(tmp_path / "my-study")
        for n in range(2):
            candidate, item = (frame.filter(role=role, id=n).row(0, named=True) for role in ("candidate", "item"))
            prompt = candidate["prefix"] + item["question"] + " " + item["choices"][item["gold"]]
            lines = "".join(f"  | {line}\n" for line in prompt.split("\n"))
            assert lines in said.replace("[[", "").replace("]]", "")
        monkeypatch.chdir(ROOT)
        assert main(["new", str(tmp_path / "quiz.csv"), "--folder", str(tmp_path / "other")]) == 0
        assert (
            f"\n  snakemake --cores all preview --configfile {tmp_path}/other/config.yaml\n" in capsys.readouterr().out
        )
