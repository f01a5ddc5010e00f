"""A row of a data set as the text of a prompt, exactly as lm-evaluation-harness writes it.

The text is put together by the harness's own functions, so that `prefix` of a candidate followed by `question` of an
item is its one-shot prompt:

    description | question | delimiter | answer | delimiter | question of the item
    '----------------- prefix of the candidate -----------'
"""

import functools
import json
from typing import Any

import jinja2
from jinja2 import meta
from lm_eval import utils
from lm_eval.api.task import ConfigurableTask

from iclscope.tasks.harness import reason_of
from iclscope.tasks.rows import Row


class UnusableRow(Exception):
    """Why a row cannot be rendered."""


def render(task: ConfigurableTask, document: Row) -> dict[str, Any]:
    """Text columns of the sample table for one row, as a demonstration (`prefix`) and as an item (`question`).

    Raises `UnusableRow` where a field is missing or empty, a text is no text, or the right answer is not a choice.
    """
    try:
        _check_text(document)
        _check_fields(task, document)
        row = _render(task, document)
    except UnusableRow:
        raise
    except Exception as error:  # templates and functions of a task may raise anything
        raise UnusableRow(reason_of(error)) from error
    return row


def _render(task: ConfigurableTask, document: Row) -> dict[str, Any]:
    config, shot = task.config, task.fewshot_cfg
    choices, gold, answer = _answer(task, document)
    description = task.resolve_field(document, config.description) or ""
    question = _text(task.doc_to_text(document), "question")
    same = shot.doc_to_text == config.doc_to_text
    shown = task.build_qa_turn(
        q=question if same else _text(task.doc_to_text(document, shot.doc_to_text), "question"),
        c=choices,
        a=answer,
        gen_prefix=task.resolve_field(document, shot.gen_prefix),
        tgt_delim=shot.target_delimiter,
        few_delim=shot.fewshot_delimiter,
    )
    asked = task.build_qa_turn(
        q=question,
        gen_prefix=task.doc_to_prefix(document),
        tgt_delim=config.target_delimiter,
        few_delim="",
    )
    prefix = description + "".join(message.to_text() for message in shown)
    answer_end = len(prefix) - len(shot.fewshot_delimiter)
    return {
        "kind": "choice" if task.OUTPUT_TYPE == "multiple_choice" else "generation",
        "description": description,
        "question": "".join(message.to_text() for message in asked),
        "target_delimiter": config.target_delimiter,
        "choices": choices,
        "gold": gold,
        "prefix": prefix,
        "question_start": len(description),
        "question_end": len(description) + len(shown[0].content),
        "answer_start": answer_end - len(answer),
        "answer_end": answer_end,
    }


def _answer(task: ConfigurableTask, document: Row) -> tuple[list[str], int, str]:
    """Choices, index of the right one, and the answer that a demonstration shows.

    A generated answer has one choice, the right answer; of several right answers the harness shows the first.
    """
    shot = task.fewshot_cfg
    target = _target(task, document, shot.doc_to_target)
    options = task.doc_to_choice(document, shot.doc_to_choice) if shot.doc_to_choice else None
    if task.OUTPUT_TYPE != "multiple_choice":
        answer = options[target] if options and isinstance(target, int) else target
        answer = answer[0] if isinstance(answer, list) else answer
        return [_text(answer, "answer")], 0, answer
    choices = [_text(choice, "choice") for choice in task.doc_to_choice(document)]
    if len(choices) < 2:
        raise UnusableRow("fewer than two choices")
    right = _target(task, document, task.config.doc_to_target)
    gold = choices.index(right) if isinstance(right, str) and right in choices else right
    if not isinstance(gold, int) or not 0 <= gold < len(choices):
        fields = _fields(task.config.doc_to_target)
        raise UnusableRow(f"right answer {right!r} is not among the {len(choices)} choices{fields}")
    return choices, int(gold), _text(options[target] if isinstance(target, int) else target, "answer")


def _target(task: ConfigurableTask, document: Row, source: Any) -> Any:
    """The right answer as the task reads it, by field, template or function."""
    try:
        return task.doc_to_target(document, source)
    except Exception as error:
        raise UnusableRow(f"right answer{_fields(source)}: {reason_of(error)}") from error


def _fields(source: Any) -> str:
    """The fields that a field name or template reads, for messages; nothing where a function does."""
    if not isinstance(source, str):
        return ""
    names = sorted(meta.find_undeclared_variables(utils.env.parse(source))) if "{" in source else [source]
    return f" (field {', '.join(names)})" if names else ""


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise UnusableRow(f"{what} is {type(value).__name__}, not text")
    if not value.strip():
        raise UnusableRow(f"{what} is empty")
    return value


def _check_text(document: Row) -> None:
    """Refuse a row with text that cannot be written as UTF-8, such as a byte that was none in the source."""
    for name, value in document.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise UnusableRow(f"field {name} is not UTF-8, or holds half of a surrogate pair") from error


def _check_fields(task: ConfigurableTask, document: Row) -> None:
    """Refuse a row whose prompt or answer would show an empty field as `None`, or whose prompt a list or object."""
    for template, refused in ((task.config.doc_to_text, (list, dict)), (task.config.doc_to_target, ())):
        if isinstance(template, str) and "{" in template:
            compiled, names = _strict(template, refused)
            try:
                compiled.render(**document)
            except (ValueError, LookupError, TypeError) as error:
                if template is task.config.doc_to_target:
                    raise UnusableRow(f"right answer{_fields(template)}: {reason_of(error)}") from error
                raise
            except UnusableRow as error:
                odd = [name for name in names if document.get(name) is None or isinstance(document[name], refused)]
                raise UnusableRow(f"field {', '.join(odd) or 'of the template'} {error}") from error


@functools.lru_cache
def _strict(template: str, refused: tuple[type, ...]) -> tuple[jinja2.Template, list[str]]:
    """A template that refuses to print nothing or one of the types `refused`, and the fields it names."""

    def printable(value: Any) -> Any:
        if value is None or isinstance(value, refused):
            raise UnusableRow("is empty" if value is None else f"is {type(value).__name__}, not text")
        return value

    environment = utils.env.overlay(finalize=printable)
    return environment.from_string(template), sorted(meta.find_undeclared_variables(environment.parse(template)))
