"""A study that `new` writes asks what the file asks and knows its right answers, whatever the columns look like."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st

from iclscope.runtime.errors import StudyError
from iclscope.tasks import columns, harness
from iclscope.tasks.columns import Asked
from iclscope.tasks.pool import make_pool
from new_studies import (
    ANSWERS,
    SHAPES,
    answers_of,
    assert_known,
    facts,
    rows_of,
    study_of,
)

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

    @pytest.mark.parametrize(("answers", "learns"), [(["good", "bad"] * 10, True), (list(range(20)), False)])
    def test_learning_curves_are_asked_for_where_there_are_classes(self, tmp_path, answers, learns):
        rows = [{"text": f"Text {n}.", "label": answer} for n, answer in enumerate(answers)]
        study_of(tmp_path, rows)
        (written,) = tmp_path.glob("study-*/config.yaml")
        assert ("learning" in yaml.safe_load(written.read_text(encoding="utf-8"))) is learns

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
