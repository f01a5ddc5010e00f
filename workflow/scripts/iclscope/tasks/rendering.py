"""A row of a data set as the text of a prompt, exactly as lm-evaluation-harness writes it.

The text is put together by the harness's own functions, so that `prefix` of a candidate followed by `question` of an
item is its one-shot prompt:

    description | question | delimiter | answer | delimiter | question of the item
    '----------------- prefix of the candidate -----------'
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jinja2
from jinja2 import meta
from lm_eval import utils

from iclscope.tasks.harness import Task, UnusableRow, fields_of, is_list_of_texts, option_text, reason_of, text_of
from iclscope.tasks.rows import Row, undecoded

Read = tuple[int, list[str]]  # a number that was read as the index of a choice, and the choices


@contextmanager
def templates_compiled_once() -> Iterator[None]:
    """Keep the compiled templates of tasks; the harness compiles one for every row, half of the time of a pool."""
    utils.env.from_string = functools.lru_cache(utils.env.from_string)
    try:
        yield
    finally:
        del utils.env.from_string  # that of the class is there again


class AnswerOutOfRange(UnusableRow):
    """The right answer is an `index` that none of the `choices` has."""

    def __init__(self, index: int, choices: list[str], fields: str) -> None:
        super().__init__(f"right answer {index} is not among the {len(choices)} choices{fields}")
        self.index, self.choices = index, choices


def render(task: Task, document: Row) -> dict[str, Any]:
    """Text columns of the sample table for one row, as a demonstration (`prefix`) and as an item (`question`).

    Beside them `read`: the number that was read as an index, if the right answer is one. Raises `UnusableRow` where
    a field is missing or empty, a text is no text, a list no list, or the right answer is not a choice.
    """
    try:
        if (field := undecoded(document)) is not None:
            raise UnusableRow(f"field {field} is not UTF-8, or holds half of a surrogate pair")
        _check_fields(task, document)
        row = _render(task, document)
    except UnusableRow:
        raise
    except Exception as error:  # templates and functions of a task may raise anything
        raise UnusableRow(reason_of(error)) from error
    return row


def _render(task: Task, document: Row) -> dict[str, Any]:
    config, shot = task.config, task.fewshot_cfg
    choices, gold, answer, read = _answer(task, document)
    description = task.resolve_field(document, config.description) or ""
    question = text_of(task.doc_to_text(document), "question")
    same = shot.doc_to_text == config.doc_to_text
    shown = task.build_qa_turn(
        q=question if same else text_of(task.doc_to_text(document, shot.doc_to_text), "question"),
        c=choices,
        a=answer,
        gen_prefix=task.resolve_field(document, shot.gen_prefix),
        tgt_delim=shot.target_delimiter,
        few_delim=shot.fewshot_delimiter,
    )
    prefix = description + "".join(message.to_text() for message in shown)
    answer_end = len(prefix) - len(shot.fewshot_delimiter)
    return {
        "kind": "choice" if task.OUTPUT_TYPE == "multiple_choice" else "generation",
        "description": description,
        "question": asked(task, document, question),
        "target_delimiter": config.target_delimiter,
        "choices": choices,
        "gold": gold,
        "read": read,
        "prefix": prefix,
        "question_start": len(description),
        "question_end": len(description) + len(shown[0].content),
        "answer_start": answer_end - len(answer),
        "answer_end": answer_end,
    }


def asked(task: Task, document: Row, question: str) -> str:
    """A question as an item shows it, with what the task begins the answer by."""
    turn = task.build_qa_turn(
        q=question,
        gen_prefix=task.doc_to_prefix(document),
        tgt_delim=task.config.target_delimiter,
        few_delim="",
    )
    return "".join(message.to_text() for message in turn)


def _answer(task: Task, document: Row) -> tuple[list[str], int, str, Read | None]:
    """Choices, index of the right one, the answer that a demonstration shows, and what was read as an index.

    A generated answer has one choice, the right answer; of several right answers the harness shows the first.
    """
    shot = task.fewshot_cfg
    if task.OUTPUT_TYPE != "multiple_choice":
        shown, read = _shown(task, document, shot.doc_to_target)
        return [shown], 0, shown, read
    choices = task.doc_to_choice(document)
    if len(choices) < 2:
        raise UnusableRow("fewer than two choices")
    source = task.config.doc_to_target
    right = _target(task, document, source)
    if isinstance(right, str) and right in choices:
        return choices, choices.index(right), _shown(task, document, shot.doc_to_target)[0], None
    gold = _index(right, choices, source)
    shown, _ = _shown(task, document, shot.doc_to_target)
    return choices, gold, shown, None if isinstance(right, bool) else (gold, choices)


def _index(right: Any, choices: list[str], source: Any) -> int:
    """The right answer as the index of a choice."""
    if not isinstance(right, int):
        raise UnusableRow(f"right answer {right!r} is not among the {len(choices)} choices{fields_of(source)}")
    if not 0 <= right < len(choices):
        raise AnswerOutOfRange(right, choices, fields_of(source))
    return int(right)


def _shown(task: Task, document: Row, source: Any) -> tuple[str, Read | None]:
    """The text of the answer that a demonstration shows, and what was read as an index for it."""
    target, fields = _target(task, document, source), fields_of(source)
    options = task.doc_to_choice(document, task.fewshot_cfg.doc_to_choice) if task.fewshot_cfg.doc_to_choice else []
    if options and isinstance(target, int):
        place = _index(target, options, source)
        return options[place], None if isinstance(target, bool) else (place, options)
    several = isinstance(target, list)
    compared = task.OUTPUT_TYPE != "multiple_choice" and not callable(task.config.process_results)
    if compared and several != bool(task.multiple_target):
        # The harness takes the kind of the first row for that of all, and would take a text apart.
        kinds = ("a list", "a text") if several else ("a text", "a list")
        raise UnusableRow(f"right answer{fields} is {kinds[0]}, in the first row {kinds[1]}; make them of one kind")
    if several:
        texts = [option_text(one, f"right answer{fields}") for one in target]
        if not texts:
            raise UnusableRow(f"right answer{fields} is an empty list")
        return texts[0], None
    if isinstance(source, str) and source in task.features and is_list_of_texts(target):
        raise UnusableRow(f"right answer{fields} is a list written as text; let a template read it: '{{{{{source}}}}}'")
    return option_text(target, "answer"), None


def _target(task: Task, document: Row, source: Any) -> Any:
    """The right answer as the task reads it, by field, template or function."""
    try:
        return task.doc_to_target(document, source)
    except Exception as error:
        raise UnusableRow(f"right answer{fields_of(source)}: {reason_of(error)}") from error


def _check_fields(task: Task, document: Row) -> None:
    """Refuse a row whose prompt or answer would show an empty field as `None`, or whose prompt a list or object."""
    for template, refused in ((task.config.doc_to_text, (list, dict)), (task.config.doc_to_target, (dict,))):
        if isinstance(template, str) and "{" in template:
            compiled, names = _strict(template, refused)
            try:
                compiled.render(**document)
            except (ValueError, LookupError, TypeError) as error:
                if template is task.config.doc_to_target:
                    raise UnusableRow(f"right answer{fields_of(template)}: {reason_of(error)}") from error
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
    # As the class has it: one that is kept would compile for the environment without `finalize`.
    compiled = jinja2.Environment.from_string(environment, template)
    return compiled, sorted(meta.find_undeclared_variables(environment.parse(template)))
