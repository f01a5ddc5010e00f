"""How choices stand in the rows of a file, and which of them a column says is right, both as templates of a task file.

A file may give the choices as a list, as text that holds one, as an object or in columns of their own; and the right
one by its text, its label, its letter or its number. What fits most rows is taken; what could be read in two ways is
refused.
"""

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from iclscope.runtime.errors import StudyError
from iclscope.tasks.rows import Row

FITS = 0.8  # share of rows that a reading must fit; the pool drops the others, and refuses more of them
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
HALVES = re.compile(
    "[\ud800-\udfff]"
)  # of a character that JSON wrote as two; what reads Python's lists keeps them apart
AROUND = "()[].: "  # a letter, as in `(b)` or `B.`
SEPARATORS = ("|", ";", "\n", "\t", " / ", ",")
TEXTS, LABELS = ("text", "texts", "content", "choices", "options"), ("label", "labels", "key", "keys", "id")

# Ways to compare two texts, as filters of templates and as functions, from the strictest on.
SPELLINGS: tuple[tuple[tuple[str, ...], Callable[[Any], str]], ...] = (
    (("string",), str),
    (("string", "trim"), lambda value: str(value).strip()),
    (("string", "trim", "lower"), lambda value: str(value).strip().lower()),
)


class Options(NamedTuple):
    """The choices of a row and, where they have some, their labels."""

    texts: list[str]
    labels: list[str]


@dataclass(frozen=True)
class Form:
    """A way in which choices stand in a row.

    said: for people. source: for `doc_to_choice`. texts, labels: expressions of templates for both; empty where there
    is none. read: the choices of a row; None where they do not stand in it in this way.
    """

    said: str
    columns: tuple[str, ...]
    source: Any
    texts: str
    labels: str
    read: Callable[[Row], Options | None]

    def fits(self, rows: Sequence[Row]) -> bool:
        """Whether most rows have choices in this form, and several."""
        return sum(len((self.read(row) or Options([], [])).texts) > 1 for row in rows) >= FITS * len(rows)


class Answer(NamedTuple):
    """What a column says of the right choice: in words, for `doc_to_target`, and its index by row."""

    said: str
    source: Any
    indices: list[int | None]

    @property
    def read(self) -> int:
        """In how many rows it says something."""
        return sum(index is not None for index in self.indices)


# Forms of choices


def of_column(column: str, name: str, rows: Sequence[Row], split: bool = True) -> Form | None:
    """The form in which a column holds the choices of most rows; None if it does not.

    name: of the column in templates. split: whether text may be split at signs such as `|`.
    """
    forms = [
        _form("a list", column, name, name, "", _list),
        _form("a list as text", column, "", f"{{{{{name}}}}}", "", _literal),
        *_of_objects(column, name, rows),
        *([_separated(column, name, sign) for sign in SEPARATORS] if split else []),
    ]
    return next((form for form in forms if form.fits(rows)), None)


def of_columns(columns: Sequence[str], names: Mapping[str, str], rows: Sequence[Row]) -> Form:
    """Choices with a column each; the last ones may be empty."""
    listed = f"[{', '.join(names[column] for column in columns)}]"
    if any(_is_empty(row.get(column)) for row in rows for column in columns):
        # As many as are not empty, from the first on: behind a gap the letters would be those of other choices.
        listed = f'{listed}[:({listed} | reject("in", [none, ""]) | list | length)]'

    def read(row: Row) -> Options | None:
        there = [column for column in columns if not _is_empty(row.get(column))]
        texts = _texts(row[column] for column in there)
        return Options(texts, there) if texts and there == list(columns[: len(there)]) else None

    said = f"the columns {', '.join(columns)}"
    return Form(said, tuple(columns), f"{{{{{listed}}}}}", listed, json.dumps(list(columns)), read)


def _form(said: str, column: str, texts: str, source: str, labels: str, of: Callable[[Any], Options | None]) -> Form:
    return Form(f"column {column}, {said}", (column,), source, texts, labels, lambda row: of(row.get(column)))


def _list(value: Any) -> Options | None:
    texts = _texts(value) if isinstance(value, list) else []
    return Options(texts, []) if texts else None


def _literal(value: Any) -> Options | None:
    """Text that holds a list of texts, as Python or JSON writes it."""
    try:
        found = ast.literal_eval(value.strip()) if isinstance(value, str) and value.lstrip().startswith("[") else None
    except (SyntaxError, ValueError):
        return None
    return _list(found)


def _of_objects(column: str, name: str, rows: Sequence[Row]) -> Iterable[Form]:
    """Forms with labels: `{label: [A, B], text: […]}`, `{A: …, B: …}` and `[{label: A, text: …}, …]`."""
    first: Any = next((row[column] for row in rows if row.get(column)), None)
    one = first[0] if isinstance(first, list) else first
    if not isinstance(one, dict):
        return
    text, label = (next((key for key in keys if key in one), None) for keys in (TEXTS, LABELS))
    if first is one and isinstance(one.get(text), list):
        labels = f'{name}["{label}"]' if label else ""
        yield _form(
            "an object of lists", column, f'{name}["{text}"]', f'{{{{{name}["{text}"]}}}}', labels,
            lambda value: _pair(value.get(text), value.get(label)) if isinstance(value, dict) else None,
        )  # fmt: skip
    elif first is one:
        texts, labels = (f'{name}.{part}() | reject("none") | list' for part in ("values", "keys"))
        yield _form("an object", column, texts, f"{{{{{texts}}}}}", labels, _of_keys)
    elif text:
        texts, labels = (f'{name} | map(attribute="{key}") | list' if key else "" for key in (text, label))
        yield _form(
            "a list of objects", column, texts, f"{{{{{texts}}}}}", labels,
            lambda value: (
                _pair([one.get(text) for one in value], [one.get(label) for one in value] if label else None)
                if isinstance(value, list) and all(isinstance(one, dict) for one in value)
                else None
            ),
        )  # fmt: skip


def _pair(values: Any, labels: Any) -> Options | None:
    texts = _texts(values) if isinstance(values, list) else []
    marks = _texts(labels) if isinstance(labels, list) else []
    return Options(texts, marks) if texts and (not marks or len(marks) == len(texts)) else None


def _of_keys(value: Any) -> Options | None:
    there = {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else {}
    # Labels are the keys of the object, whether or not they have a choice: only a gap at the end leaves them in order.
    texts = _texts(there.values()) if list(there) == list(value or {})[: len(there)] else []
    return Options(texts, list(there)) if texts else None


def _separated(column: str, name: str, sign: str) -> Form:
    texts = f'{name}.split({json.dumps(sign)}) | map("trim") | select | list'

    def read(value: Any) -> Options | None:
        text = isinstance(value, str) and not value.lstrip().startswith("[")
        parts = [part.strip() for part in value.split(sign)] if text else []
        return Options(found, []) if (found := [part for part in parts if part]) else None

    return _form(f"split at {json.dumps(sign)}", column, texts, f"{{{{{texts}}}}}", "", read)


def _texts(values: Iterable[Any]) -> list[str]:
    """The texts of choices, numbers as their text; none if one of them is something else or empty."""
    found = list(values)
    plain = all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in found)
    texts = [str(one) for one in found] if plain else []
    return texts if all(text.strip() and not HALVES.search(text) for text in texts) else []


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


# Right answers


def answer(form: Form, column: str, name: str, rows: Sequence[Row]) -> Answer | None:
    """How a column says which choice is right in most rows; None if it does not.

    name: of the column in templates. Raises StudyError where two ways fit equally many rows and differ.
    """
    options = [form.read(row) or Options([], []) for row in rows]
    values = [row.get(column) for row in rows]
    found = [
        _of_texts(form, name, options, values),
        _of_labels(form, name, options, values),
        _of_letters(name, options, values),
        *_of_numbers(name, options, values),
    ]
    fitting = [one for one in found if one.read >= FITS * len(rows)]
    if not fitting:
        return None
    best = [one for one in fitting if one.read == max(one.read for one in fitting)]
    for other in best[1:]:
        if any(None not in pair and pair[0] != pair[1] for pair in zip(best[0].indices, other.indices, strict=True)):
            raise StudyError(
                f"column {column} may be {best[0].said} or {other.said} of the right choice, and no row tells; name a "
                "column that holds its letter or its text with --answer"
            )
    return best[0]


def _of_texts(form: Form, name: str, options: Sequence[Options], values: Sequence[Any]) -> Answer:
    """The text of the right choice."""
    found = _spelt("the text", form.texts, name, [one.texts for one in options], values)
    # Text in a field is compared with the choices as it is, and never read as a number.
    texts = all(isinstance(value, str | None) for value in values)
    found[0] = found[0]._replace(source=name) if texts else found[0]
    return _first_of_most([one if one.source else one._replace(indices=[None] * len(values)) for one in found])


def _of_labels(form: Form, name: str, options: Sequence[Options], values: Sequence[Any]) -> Answer:
    """The label of the right choice, or the name of its column."""
    labels = [one.labels if form.labels else [] for one in options]
    found = _spelt("the label", form.labels, name, labels, values)
    if form.labels.startswith("[") and all(isinstance(value, str | None) for value in values):
        found[0] = found[0]._replace(source=f"{{{{{form.labels}.index({name})}}}}")
    return _first_of_most(found)


def _spelt(said: str, listed: str, name: str, texts: Sequence[Sequence[str]], values: Sequence[Any]) -> list[Answer]:
    """A value among texts, spelt as it is; with other spaces; with other capitals too.

    listed: the texts as an expression of templates; without one, nothing reads them there. texts: those of each row.
    """
    found = []
    for filters, same in SPELLINGS:
        mapped, piped = "".join(f' | map("{one}")' for one in filters), "".join(f" | {one}" for one in filters)
        source = f"{{{{(({listed}){mapped} | list).index({name}{piped})}}}}" if listed else ""
        pairs = zip(texts, values, strict=True)
        found.append(Answer(said, source, [_place(value, list(map(same, one)), same) for one, value in pairs]))
    return found


def _of_letters(name: str, options: Sequence[Options], values: Sequence[Any]) -> Answer:
    most = max(len(one.texts) for one in options)
    letters = list(LETTERS[:most])
    indices = [
        _place(value.strip(AROUND).upper(), letters[: len(one.texts)], str) if isinstance(value, str) else None
        for one, value in zip(options, values, strict=True)
    ]
    source = f"{{{{{json.dumps(letters)}.index({name} | trim({json.dumps(AROUND)}) | upper)}}}}"
    return Answer("the letter", source, indices)


def _of_numbers(name: str, options: Sequence[Options], values: Sequence[Any]) -> Iterable[Answer]:
    """The number of the right choice, counted from 0 and from 1."""
    numbers = [_whole(value) for value in values]
    whole = all(type(value) is int for value in values if value is not None)
    # A text that is no number becomes -1, which is no index.
    sources = (name if whole else f"{{{{{name} | int(-1)}}}}", f"{{{{{name} | int(0) - 1}}}}")
    for first, source in enumerate(sources):
        indices = [
            number - first if number is not None and first <= number < len(one.texts) + first else None
            for one, number in zip(options, numbers, strict=True)
        ]
        yield Answer(f"the number from {first}", source, indices)


def _first_of_most(answers: Sequence[Answer]) -> Answer:
    """The first of those that say most."""
    return max(answers, key=lambda one: one.read)


def _place(value: Any, spelt: Sequence[str], same: Callable[[Any], str]) -> int | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return spelt.index(same(value)) if same(value) in spelt else None


def _whole(value: Any) -> int | None:
    """A whole number, also as text and as `2.0`."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return int(float(value)) if re.fullmatch(r"\d{1,3}(\.0+)?", str(value).strip()) else None
