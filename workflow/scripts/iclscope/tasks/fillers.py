"""The question of a task without content: the texts of a row replaced by a filler such as `N/A` (Zhao et al. 2021)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Task
from iclscope.tasks import harness
from iclscope.tasks.harness import UnusableRow
from iclscope.tasks.rendering import asked
from iclscope.tasks.rows import Row


def content_free_questions(
    task: Task, candidates: Sequence[Mapping[str, Any]], fillers: Sequence[str], seed: int
) -> list[str]:
    """The question of the first candidate for each filler, once every text and number of its row is the filler.

    candidates: rows of the sample table. A field that only switches the wording, such as `cause` and `effect` in COPA,
    may stay where the task does not work without it: one whose values are at most half as many as the candidates.
    Raises StudyError for a filler that the task cannot hold.
    """
    documents = [json.loads(row["document"]) for row in candidates]
    built = harness.load_task(task.name, task.folder, {"candidates": documents}, task.key)
    questions = []
    for filler in fillers:
        with harness.seeded("content_free", seed, task.key, filler):
            try:
                questions.append(_question(built, documents, filler))
            except Exception as error:  # templates and functions of a task may raise anything
                raise StudyError(
                    f"features.content_free: {task.key}.task {task.name} cannot hold {filler!r} in the fields of a row "
                    f"({harness.reason_of(error)}); take this filler off the list"
                ) from error
    return questions


def _question(task: harness.Task, documents: Sequence[Row], filler: str) -> str:
    try:
        return _asked_with(task, documents[0], filler)
    except Exception:  # as above
        for field in _switches(documents):
            try:
                return _asked_with(task, documents[0], filler, field)
            except Exception:  # not the one that the task needs
                continue
        raise


def _asked_with(task: harness.Task, document: Row, filler: str, kept: str | None = None) -> str:
    """The question of a row whose fields all hold the filler, apart from `kept`; it may be empty."""
    blank = {field: value if field == kept else _filled(value, filler) for field, value in document.items()}
    question = task.doc_to_text(blank)
    if not isinstance(question, str):
        raise UnusableRow(f"question is {type(question).__name__}, not text")
    return asked(task, blank, question)


def _filled(value: Any, filler: str) -> Any:
    """The value with every text and number in it replaced."""
    if isinstance(value, dict):
        return {key: _filled(part, filler) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, filler) for part in value]
    return filler if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def _switches(documents: Sequence[Row]) -> list[str]:
    """Fields with few values, which name a kind rather than say something."""
    values = {field: {json.dumps(row.get(field), sort_keys=True) for row in documents} for field in documents[0]}
    return [field for field, found in values.items() if 2 * len(found) <= len(documents)]
