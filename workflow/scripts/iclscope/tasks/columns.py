"""Which columns of a file hold the question, the choices and the right answer, and the task file that follows.

Columns are known by their names, else by what stands in them. Where neither tells, a sentence names the option to give.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NoReturn

import jinja2
from jinja2 import meta

from iclscope.runtime.errors import StudyError
from iclscope.tasks import choices
from iclscope.tasks.rows import Row

# Names in small letters without signs, the most telling first.
QUESTIONS = (
    "question", "questionstem", "questiontext", "query", "stem", "problem", "goal", "prompt", "instruction",
    "hypothesis", "sentence2", "input", "text", "sentence", "review", "content", "document", "comment", "tweet",
    "utterance", "message", "headline", "title", "body", "ctx",
)  # fmt: skip
CONTEXTS = (
    "passage",
    "context",
    "article",
    "paragraph",
    "story",
    "background",
    "support",
    "premise",
    "sentence1",
    "body",
)
CHOICES = ("choices", "options", "answerchoices", "alternatives", "endings", "possibleanswers")
ANSWERS = (
    "answer", "answerkey", "correctanswer", "rightanswer", "bestanswer", "correctoption", "correctchoice", "correct",
    "answeridx", "answerindex", "answerid", "correctindex", "labeltext", "labelname", "label", "goldlabel", "gold",
    "target", "cop", "solution", "output", "response", "completion", "reply", "answers",
)  # fmt: skip
LABELS = ("sentiment", "category", "class", "topic", "intent", "emotion", "y")  # answers too, if only one is there
PLAIN = QUESTIONS[:6]  # shown as `Question`, others by their own name
NUMBERED = re.compile(r"(option|opt|op|choice|answer|ans|solution|sol|ending|candidate|alternative|)([a-z]|\d{1,2})")
WRONG = re.compile(r"(distractor|incorrect|incorrectanswer|wrong|wronganswer|falseanswer)s?\d{0,2}")

MOST_LABELS = 20
ROWS_PER_LABEL = 5  # at least, for a column of labels rather than of answers
LONGEST_LABEL = 50  # characters
MOST_NEW_TOKENS = 256
LONG = 60  # characters of an answer that is hardly ever met to the letter


@dataclass(frozen=True)
class Asked:
    """Columns that the user named; nothing where they are to be found."""

    question: Sequence[str] = ()
    choices: Sequence[str] = ()
    answer: str | None = None


@dataclass
class Reading:
    """What a file's columns are: in words, and as fields of a task file.

    renamed: column → its name in templates, where those cannot name it. cluster: field that rows of one text share.
    """

    said: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    cluster: str | None = None
    notes: list[str] = field(default_factory=list)


def read(rows: Sequence[Row], asked: Asked) -> Reading:
    """The reading of a file's rows. Raises StudyError where the columns can be read in several ways or in none."""
    return _Columns(rows, asked).reading()


class _Columns:
    """The columns of a file, and how each is named in templates."""

    def __init__(self, rows: Sequence[Row], asked: Asked) -> None:
        self.rows, self.asked = rows, asked
        self.all = list(dict.fromkeys(column for row in rows for column in row))
        self.names = _template_names(self.all)
        for option, named in (("question", asked.question), ("choices", asked.choices), ("answer", [asked.answer])):
            for column in filter(None, named):
                if column not in self.all:
                    near = difflib.get_close_matches(column, self.all, n=1)
                    hint = f"; did you mean {near[0]}?" if near else ""
                    raise StudyError(f"--{option}: there is no column {column}; {self._listed()}{hint}")

    def reading(self) -> Reading:
        found, form = Reading(), self._choices()
        question = self._question_by_name([*(form.columns if form else ()), self.asked.answer])
        taken = [*question, *(form.columns if form else ())]
        answer = self._of_choices(found, form, taken) if form else self._free(found, taken)
        question = question or self._question_by_content([*(form.columns if form else ()), answer])
        lines = [f"{self._title(column)}: {{{{{self.names[column]}}}}}" for column in question]
        found.fields["doc_to_text"] = "\n".join([*lines, "Answer:"])
        found.said = {"question": ", ".join(question), **found.said}
        if len(question) > 1 and len({str(row.get(question[0])) for row in self.rows}) < len(self.rows):
            found.cluster = self.names[question[0]]
        used = [*question, *(form.columns if form else ()), answer]
        found.renamed = {column: name for column, name in self.names.items() if column in used and column != name}
        return found

    # Choices

    def _choices(self) -> choices.Form | None:
        """The form of the choices, if rows have some of their own."""
        named = list(self.asked.choices)
        if len(named) > 1:
            return choices.of_columns(named, self.names, self.rows)
        free = [column for column in self.all if column not in (*self.asked.question, self.asked.answer)]
        named = named or [column for name in CHOICES for column in free if _plain(column) == name]
        if not named:
            return self._in_columns(free) or self._only_list(free)
        forms = (choices.of_column(column, self.names[column], self.rows) for column in named)
        form = next((form for form in forms if form), None)
        if form is None:
            raise StudyError(
                f"column {named[0]} holds no choices that can be read, in the first row "
                f"{self.rows[0].get(named[0])!r}; name with --choices a column with a list or with text such as a|b|c, "
                f"or one for each choice as in --choices A,B,C,D; {self._listed()}"
            )
        return form

    def _in_columns(self, free: Sequence[str]) -> choices.Form | None:
        """Choices in columns such as `A` to `D`, `option1`, `choice_0`; or wrong ones beside a right one."""
        groups: dict[str, dict[str, str]] = {}
        for column in free:
            if match := NUMBERED.fullmatch(_plain(column)):
                groups.setdefault(match[1] + ("0" if match[2].isdigit() else "a"), {})[match[2]] = column
        for prefix, group in groups.items():
            marks = sorted(group, key=_order)
            first, *others = [int(mark) if mark.isdigit() else ord(mark) - ord("a") for mark in marks]
            in_order = others == list(range(first + 1, first + len(marks)))
            if others and in_order and first in ((0, 1) if marks[0].isdigit() else (0,)) and prefix != "0":
                return choices.of_columns([group[mark] for mark in marks], self.names, self.rows)
        wrong = [column for column in free if WRONG.fullmatch(_plain(column))]
        right = self._answers_by_name([*self.asked.question, *wrong])
        return choices.of_columns([right[0], *wrong], self.names, self.rows) if wrong and right else None

    def _only_list(self, free: Sequence[str]) -> choices.Form | None:
        """The one column of lists that another column says something of."""
        found = {}
        for column in free:
            form = choices.of_column(column, self.names[column], self.rows, split=False)
            if form and any(self._says(other, form) for other in self.all if other != column):
                found[column] = form
        if len(found) > 1:
            self._cannot_tell("choices", list(found))
        return next(iter(found.values()), None)

    def _says(self, column: str, form: choices.Form) -> bool:
        """Whether a column may say which choice is right, in one way or several."""
        try:
            return choices.answer(form, column, self.names[column], self.rows) is not None
        except StudyError:
            return True

    def _of_choices(self, found: Reading, form: choices.Form, taken: Sequence[str]) -> str:
        """Add what follows from choices; returns the column of the right answer."""
        found.said["choices"] = form.said
        found.fields |= {"output_type": "multiple_choice", "doc_to_choice": form.source}
        found.fields["metric_list"] = _metrics("acc")
        own = [column for column in form.columns if not WRONG.fullmatch(_plain(column))]
        right = own[0] if len(own) == 1 < len(form.columns) else self.asked.answer
        if right in form.columns and right is not None:
            found.said["answer"] = f"column {right}"
            found.fields["doc_to_target"] = form.columns.index(right)
            return right
        column, answer = self._right(form, taken)
        found.said["answer"] = f"column {column}, {answer.said} of the right choice"
        found.fields["doc_to_target"] = answer.source
        return column

    def _right(self, form: choices.Form, taken: Sequence[str]) -> tuple[str, choices.Answer]:
        """The column that says which choice is right, and how."""
        named = [self.asked.answer] if self.asked.answer else self._answers_by_name(taken)
        tried = named or [column for column in self.all if column not in taken]
        answers = {column: choices.answer(form, column, self.names[column], self.rows) for column in tried}
        fitting = {column: answer for column, answer in answers.items() if answer}
        if not fitting and named:
            raise StudyError(
                f"column {named[0]} does not say which of the choices ({form.said}) is right, in the first row "
                f"{self.rows[0].get(named[0])!r}; name the column of its text, letter or number with --answer, or the "
                f"choices with --choices; {self._listed()}"
            )
        if not fitting:
            self._cannot_tell("right answer", tried, "answer")
        first, *others = fitting.items()
        differing = [column for column, answer in others if _differ(first[1].indices, answer.indices)]
        if differing:
            self._cannot_tell("right answer", [first[0], *differing], "answer")
        return first

    # Answers without choices

    def _free(self, found: Reading, taken: Sequence[str]) -> str:
        """Add what follows from an answer without choices of its own; returns its column."""
        named = [self.asked.answer] if self.asked.answer else self._answers_by_name(taken)
        left = [column for column in self.all if column not in taken]
        if not named and (len(left) != 1 or not taken):
            self._cannot_tell("answer", left, "answer")
        column = (named or left)[0]
        values = [value for row in self.rows if (value := row.get(column)) is not None and str(value).strip()]
        if any(isinstance(value, dict) for value in values) or not values:
            raise StudyError(
                f"column {column} holds no answers that can be read; name another with --answer; {self._listed()}"
            )
        labels = _labels(values)
        if labels:
            self._labelled(found, column, labels, values)
        else:
            self._generated(found, column, values)
        return column

    def _labelled(self, found: Reading, column: str, labels: list[str], values: Sequence[Any]) -> None:
        name = self.names[column]
        found.said |= {"choices": f"the {len(labels)} labels {', '.join(labels)}", "answer": f"column {column}"}
        found.fields |= {"output_type": "multiple_choice", "doc_to_choice": labels, "metric_list": _metrics("acc")}
        texts = all(isinstance(value, str) for value in values)
        if texts and not any(label.isdigit() for label in labels) and set(labels) == set(values):
            found.fields["doc_to_target"] = name
        elif all(isinstance(value, bool) for value in values) or labels == [str(n) for n in range(len(labels))]:
            found.fields["doc_to_target"] = name if not texts else f"{{{{{name} | int(-1)}}}}"
        else:
            found.fields["doc_to_target"] = f"{{{{{json.dumps(labels)}.index({name} | string | trim)}}}}"
        if all(label.isdigit() for label in labels):
            found.notes.append(
                f"the labels {', '.join(labels)} are numbers: words would tell a model more; write them in this order "
                "into doc_to_choice of the task file"
            )

    def _generated(self, found: Reading, column: str, values: Sequence[Any]) -> None:
        name, several = self.names[column], any(isinstance(value, list) for value in values)
        found.said["answer"] = f"column {column}, generated and compared as a whole"
        texts = [str(text) for value in values for text in (value if isinstance(value, list) else [value])]
        if len(set(texts)) < 2:
            raise StudyError(
                f"column {column} holds the same answer in every row; name another with --answer; {self._listed()}"
            )
        plain = several or all(isinstance(value, str) and value == value.strip() for value in values)
        stop = "\n\n" if any("\n" in text.strip() for text in texts) else "\n"
        longest = min(MOST_NEW_TOKENS, max(16, *map(len, texts)))  # a token is a character at least
        found.fields |= {
            "output_type": "generate_until",
            "doc_to_target": name if plain else f"{{{{{name} | string | trim}}}}",
            "generation_kwargs": {"until": [stop], "do_sample": False, "max_gen_toks": longest},
            "filter_list": [
                {"name": "whole", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}
            ],
            "metric_list": _metrics("exact_match", ignore_case=True, regexes_to_ignore=[r"\.$"]),
        }
        if (length := median(map(len, texts))) > LONG:
            found.notes.append(
                f"half of the answers have {length:.0f} characters or more, and a model hardly ever gives such a "
                "text to the letter: let filter_list of the task file take the part that counts"
            )

    # Names

    def _question_by_name(self, taken: Sequence[str | None]) -> list[str]:
        """Columns of the question by their names, with the text that it is about before it."""
        if self.asked.question:
            return list(self.asked.question)
        free = [column for column in self.all if column not in taken and self._is_text(column)]
        found = [column for name in QUESTIONS for column in free if _plain(column) == name][:1]
        about = [column for name in CONTEXTS for column in free if _plain(column) == name and column not in found]
        return [*about[:1], *found] if found else []

    def _question_by_content(self, taken: Sequence[str | None]) -> list[str]:
        """The one column of text that is left."""
        left = [column for column in self.all if column not in taken and self._is_text(column)]
        if len(left) != 1:
            self._cannot_tell("question", left)
        return left

    def _answers_by_name(self, taken: Sequence[str]) -> list[str]:
        free = [column for column in self.all if column not in taken]
        named = [column for name in ANSWERS for column in free if _plain(column) == name]
        labels = [column for column in free if _plain(column) in LABELS]
        return named or (labels if len(labels) == 1 else [])

    def _is_text(self, column: str) -> bool:
        return sum(isinstance(row.get(column), str) for row in self.rows) >= choices.FITS * len(self.rows)

    def _title(self, column: str) -> str:
        words = re.sub(r"[\W_]+", " ", column).strip()
        return "Question" if _plain(column) in PLAIN or not words else words[0].upper() + words[1:]

    def _listed(self) -> str:
        return f"the columns are {', '.join(self.all)}"

    def _cannot_tell(self, what: str, among: Sequence[str], option: str | None = None) -> NoReturn:
        found = f"{', '.join(among)} may" if among else "none seems to"
        raise StudyError(
            f"no telling which column holds the {what}: {found} be it; name it with --{option or what}; "
            f"{self._listed()}"
        )


def _plain(column: str) -> str:
    """A column's name in small letters without signs."""
    return re.sub(r"[\W_]+", "", column).lower()


def _order(mark: str) -> tuple[int, str]:
    return len(mark), mark


def _differ(some: Sequence[int | None], others: Sequence[int | None]) -> bool:
    return any(None not in pair and pair[0] != pair[1] for pair in zip(some, others, strict=True))


def _template_names(columns: Sequence[str]) -> dict[str, str]:
    """Column → a name that templates can use: its own where they can."""
    names: dict[str, str] = {}
    environment = jinja2.Environment()
    for column in columns:
        try:
            if meta.find_undeclared_variables(environment.parse(f"{{{{{column}}}}}")) == {column}:
                names[column] = column
        except jinja2.TemplateSyntaxError:
            continue
    for column in columns:
        if column not in names:
            made = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_").lower() or "column"
            made = made if made[0].isalpha() else f"column_{made}"
            while made in names.values() or made in columns:
                made += "_"
            names[column] = made
    return names


def _labels(values: Sequence[Any]) -> list[str]:
    """The few texts of which every answer is one, in order; none where answers are free."""
    if all(isinstance(value, bool) for value in values):
        return ["false", "true"]
    if any(isinstance(value, list | bool) for value in values):
        return []
    counts = Counter(str(value).strip() for value in values)
    few = 2 <= len(counts) <= MOST_LABELS and len(values) >= ROWS_PER_LABEL * len(counts)
    return (
        sorted(counts, key=_order if all(label.isdigit() for label in counts) else str)
        if (few and max(map(len, counts)) <= LONGEST_LABEL)
        else []
    )


def _metrics(name: str, **options: Any) -> list[dict[str, Any]]:
    return [{"metric": name, "aggregation": "mean", "higher_is_better": True, **options}]
