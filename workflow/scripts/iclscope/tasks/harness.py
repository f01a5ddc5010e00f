"""Task definitions of lm-evaluation-harness on rows of our own, and its scoring of generated answers.

The harness loads a task together with its data from the hub. Here the definition comes alone and is built on rows that
are already on this machine. Importing this module takes seconds, since it imports the harness.
"""

import ast
import dataclasses
import difflib
import functools
import hashlib
import itertools
import json
import logging
import math
import numbers
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from jinja2 import meta
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.config.task import FewshotConfig, TaskConfig as HarnessConfig
from lm_eval.filters import build_filter_ensemble
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from iclscope.runtime.configuration import task_files
from iclscope.runtime.errors import StudyError
from iclscope.tasks.metrics import refusal
from iclscope.tasks.rows import Row, undecoded

logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of every default that a task file leaves open
datasets.disable_progress_bars()

TICK = 1.0  # seconds between two runs of a task's own code, after which a clock of whole seconds shows another time
PROBES = 10  # rows that are tried before a task is said not to fit the data
LOADING = ("tag", "group", "metadata", "dataset_kwargs", "process_docs")  # of a definition; done before it is built
SEEDED = "let it draw from the functions of random or numpy.random, which follow the study's seed"
SUPPORTED = "supported are multiple_choice tasks with one prompt and one right choice, and greedy generate_until tasks"
TEXTS = ("description", "target_delimiter", "fewshot_delimiter", "gen_prefix")  # fields that hold text
FUNCTIONS = ("process_docs", "process_results")  # fields that hold functions
TaskConfig = dict[str, Any]


class UnusableRow(Exception):
    """Why a row cannot be rendered."""


class Task(ConfigurableTask):
    """A task of the harness whose choices are a list of texts, and nothing else that could be taken apart."""

    def doc_to_choice(self, doc: Any, doc_to_choice: Any = None) -> list[str]:
        """The choices of a row, numbers as their text; raises `UnusableRow` where they are no list of texts."""
        source = self.config.doc_to_choice if doc_to_choice is None else doc_to_choice
        try:
            found = super().doc_to_choice(doc, source)
        except (SyntaxError, ValueError):  # of the harness, which reads the text of a template as a list
            found = utils.apply_template(source, doc) if isinstance(source, str) else None
        if isinstance(found, str):
            raise UnusableRow(f"choices{fields_of(source)} are text, not a list; {self._as_list(found, source)}")
        if not isinstance(found, list | tuple):
            kind = type(found).__name__
            raise UnusableRow(f"choices{fields_of(source)} are {kind}, not a list; let doc_to_choice give a list")
        return [option_text(choice, "choice") for choice in found]

    def _as_list(self, text: str, source: Any) -> str:
        """How a template could make a list of a text."""
        named = isinstance(source, str) and source in self.features
        field = source if named else "field"
        if named and is_list_of_texts(text):
            return f"let a template read it: '{{{{{field}}}}}'"
        sign = next((sign for sign in "|;\t,/" if sign in text), "|")
        return f"let a template split it: '{{{{{field}.split({json.dumps(sign)})}}}}'"


def load_task(name: str, task_folder: str | Path, rows: Mapping[str, Sequence[Row]], key: str) -> Task:
    """The task `name` for rows that its `process_docs` has already seen, such as the documents of a sample.

    task_folder: task files of our own, which come before the harness's. rows: the rows of each split. key: the data
    set's config key, such as `datasets.boolq`, for errors.
    """
    return build_task(task_config(name, task_folder, key), [row for part in rows.values() for row in part], key)


def task_config(name: str, task_folder: str | Path, key: str) -> TaskConfig:
    """The definition of a task of this name; refuses an unknown one and one whose scores we could not match."""
    file = Path(task_folder) / f"{name}.yaml"
    try:
        task_files.find(name, task_folder)
    except StudyError as error:
        raise StudyError(f"{key}.task: {file} defines no task {name} that can be read: {error}") from error
    own = TaskManager(include_defaults=False, include_path=str(task_folder)).task_index
    if name not in own and file.is_file():
        raise StudyError(
            f"{key}.task: {file} defines no task {name}; its field `task` must say so and its YAML be valid"
        )
    index = own if name in own else _harness_folder(name) or _harness_tasks()
    if name not in index:
        alike = difflib.get_close_matches(name, [*own, *index], n=5)
        hint = f"did you mean {', '.join(alike)}?" if alike else f"put a file {name}.yaml into {task_folder}"
        raise StudyError(f"{key}.task: neither {task_folder} nor lm-evaluation-harness has a task {name}; {hint}")
    entry = index[name]
    if entry.yaml_path is None or "group" in entry.cfg:
        raise StudyError(f"{key}.task: {name} is a group of tasks; name one task, {_members(entry)}")
    try:
        with seeded("load", name):
            config = load_yaml(entry.yaml_path)
    except Exception as error:  # the file may import functions of its own
        raise StudyError(f"{key}.task: {entry.yaml_path} cannot be loaded ({reason_of(error)})") from error
    _check_supported(config, f"{key}.task: {name}")
    _check_fields(config, f"{key}.task: {name}")
    return config


def processed(config: TaskConfig, rows: Sequence[Row], key: str, *seed: Any) -> list[Row]:
    """Rows of a split as the task's `process_docs` makes them; most tasks leave them as they are.

    seed: what its random numbers follow from. A function that gives other rows when it runs again is refused.
    """
    function = config.get("process_docs")
    if function is None:
        return list(rows)
    made = []
    for run in range(2):
        time.sleep(run * TICK)
        try:
            with seeded("process_docs", *seed):
                made.append(list(function(datasets.Dataset.from_list(list(rows)))))
        except Exception as error:  # the function is the task's own and may raise anything
            raise StudyError(
                f"{key}.task: process_docs of {config['task']} fails on these rows ({reason_of(error)})"
            ) from error
    if json.dumps(made[0], default=str) != json.dumps(made[1], default=str):
        raise StudyError(f"{key}.task: process_docs of {config['task']} gives other rows when it runs again; {SEEDED}")
    return made[0]


@contextmanager
def seeded(*key: Any) -> Iterator[None]:
    """Let a task's own code draw from the global generators what follows from `key` alone; put them back behind it."""
    number = int.from_bytes(hashlib.sha256(repr(key).encode(errors="surrogatepass")).digest()[:4])
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002
        torch.random.default_generator.manual_seed(number)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def build_task(config: TaskConfig, rows: Sequence[Row], key: str) -> Task:
    """Build a task on processed rows, without touching the network.

    The harness tries a task on one row when it builds it: the first row that it accepts serves as all of its splits.
    """
    name = config["task"]
    failures = []
    decoded = list(itertools.islice((row for row in rows if undecoded(row) is None), PROBES))
    if rows and not decoded:
        raise StudyError(f"{key}: no row of this data set is UTF-8; save its files as UTF-8")
    for row in decoded:
        try:
            task = _build_on(config, row)
        except Exception as error:  # templates and functions of a task may raise anything
            failures.append(error)
            continue
        # A template that is the bare name of a field counts as the field, also where the probe lacks it.
        task.features = sorted({field for row in rows for field in row})
        _check_shape(task, f"{key}.task: {name}")
        return task
    reason = reason_of(failures[0]) if failures else "there is none"
    raise StudyError(
        refusal(config.get("metric_list"), f"{key}.task: {name}")
        or f"{key}.task: {name} does not fit the rows of this data set, the first fails with: {reason}"
    )


def score_generation(task: Task, document: Row, text: str) -> list[dict[str, Any]]:
    """Every filter and metric of the task for a generated answer: rows of `filter`, `metric` and `value`.

    As the harness does, each filter chain turns the answer into what the metrics then compare with the document.
    Metrics that are no number for a single answer, such as the pairs of a corpus F1, are left out. The first row is the
    one behind `accuracy`, if there is one. Raises `UnusableRow` where the task's own code fails.
    """
    instance = Instance("generate_until", document, ("", {}), 0, resps=[text])
    scores = []
    for chain in task._filters:
        try:
            with seeded("score", document, text, chain.name):  # some guess where an answer cannot be read
                chain.apply([instance])
                metrics = task.process_results(document, [instance.filtered_resps[chain.name]])
        except Exception as error:  # filters and metrics of a task may raise anything
            raise UnusableRow(f"an answer to it cannot be scored: {reason_of(error)}") from error
        scores += [
            {"filter": chain.name, "metric": metric, "value": float(value)}
            for metric, value in metrics.items()
            if isinstance(value, numbers.Real | np.bool_)
        ]
    return sorted(scores, key=lambda score: not _is_mean(task, score["metric"]))


def accuracy(task: Task, scores: Sequence[Mapping[str, Any]], key: str) -> float:
    """What counts as the accuracy of an answer: its first score, or 1 minus it where lower is better.

    Raises StudyError where that is no share from 0 to 1, whose mean over the items is the task's own result.
    """
    name = f"{key}.task: {task.config.task}"
    if not scores or not _is_mean(task, scores[0]["metric"]):
        listed = ", ".join(task.higher_is_better()) or "none"
        raise StudyError(
            f"{name} has no metric that scores a single answer and is averaged over them (it has {listed}); put one "
            "such as exact_match with `aggregation: mean` into its metric_list"
        )
    metric, value = scores[0]["metric"], scores[0]["value"]
    higher = task.higher_is_better()[metric]
    if not isinstance(higher, bool):
        raise StudyError(f"{name}: set higher_is_better of metric {metric} to true or false, found {higher!r}")
    if not 0 <= value <= 1:
        raise StudyError(
            f"{name}: metric {metric} gives {value:g} for an answer, and only a share from 0 to 1 can be its accuracy; "
            "put another metric first in its metric_list"
        )
    return value if higher else 1 - value


def _is_mean(task: Task, metric: str) -> bool:
    """Whether the task's result is the mean of this metric over the answers."""
    if metric not in task.higher_is_better():
        return False  # a number beside the metrics, such as a length
    try:
        return bool(abs(task.aggregation()[metric]([0.0, 0.0, 0.5, 1.0, 1.0, 1.0]) - 3.5 / 6) < 1e-9)
    except Exception:  # a function of the task's own, for pairs or objects
        return False


def stop_sequences(task: Task) -> list[str]:
    """Texts that end a generated answer; the harness adds the model's end-of-text token."""
    until = task.config.generation_kwargs["until"]
    return [until] if isinstance(until, str) else list(until)


def max_new_tokens(task: Task) -> int:
    """Longest generated answer in tokens, under whichever of its names the task sets it; 256 where it does not."""
    return normalize_gen_kwargs(task.config.generation_kwargs)["max_gen_toks"]


def reason_of(error: Exception) -> str:
    """The first line of an error, with its kind where the text alone says nothing."""
    if isinstance(error, UnusableRow):
        return str(error)
    text = next(iter(str(error).splitlines()), "")[:120]
    return f"field {text} is missing" if isinstance(error, KeyError) else text or type(error).__name__


def fields_of(source: Any) -> str:
    """The fields that a field name or template reads, for messages; nothing where a function does."""
    if not isinstance(source, str):
        return ""
    names = sorted(meta.find_undeclared_variables(utils.env.parse(source))) if "{" in source else [source]
    return f" (field {', '.join(names)})" if names else ""


def option_text(value: Any, what: str) -> str:
    """The text of a choice or answer; a number is taken as its text."""
    if isinstance(value, bool):
        raise UnusableRow(f"{what} is true or false, not text; put it in quotes, as also an unquoted yes or no of YAML")
    if isinstance(value, int | float) and math.isfinite(value):
        return str(value)
    return text_of(value, what)


def text_of(value: Any, what: str) -> str:
    """A value that must be a text with more than white space."""
    if not isinstance(value, str):
        raise UnusableRow(f"{what} is {type(value).__name__}, not text")
    if not value.strip():
        raise UnusableRow(f"{what} is empty")
    if undecoded({what: value}) is not None:
        raise UnusableRow(f"{what} holds half of a surrogate pair; write the character itself, not its escapes")
    return value


def is_list_of_texts(text: Any) -> bool:
    """Whether a text is a list of texts as Python or JSON writes it."""
    try:
        found = ast.literal_eval(text.strip()) if isinstance(text, str) and text.strip().startswith("[") else None
    except (SyntaxError, ValueError):
        return False
    return isinstance(found, list) and any(isinstance(one, str) for one in found)


def _build_on(config: TaskConfig, row: Row) -> Task:
    probe = datasets.Dataset.from_list([row])
    splits: Mapping[str, datasets.Dataset] = defaultdict(lambda: probe)
    kept = {field: value for field, value in config.items() if field not in LOADING}
    return Task(config={**kept, "custom_dataset": lambda: splits})


@functools.cache
def _harness_folder(name: str) -> Mapping[str, Any] | None:
    """Index of the folder in which the harness defines a task, if it does: a hundred times faster than that of all."""
    file = task_files.harness_file(name)
    return TaskManager(include_defaults=False, include_path=str(file.parent)).task_index if file else None


@functools.cache
def _harness_tasks() -> Mapping[str, Any]:
    """Index of the harness's own tasks; building it takes some seconds."""
    return TaskManager().task_index


def _members(entry: Any) -> str:
    names = (
        sorted(entry.tags) if entry.yaml_path is None else [m for m in entry.cfg.get("task", []) if isinstance(m, str)]
    )
    return f"such as {', '.join(names[:5])}" if names else "not the group"


def _check_fields(config: TaskConfig, task: str) -> None:
    """Refuse fields that no task has, and values of another type than their field wants."""
    shots = config.get("fewshot_config") or {}
    for fields, kind, place in ((config, HarnessConfig, ""), (shots, FewshotConfig, "fewshot_config.")):
        known = [field.name for field in dataclasses.fields(kind)]
        for field, value in fields.items():
            if field not in known and field != "class":
                near = difflib.get_close_matches(str(field), known, n=1)
                hint = f"did you mean {near[0]}?" if near else "take it out"
                raise StudyError(f"{task} has an unknown field {place}{field}; {hint}")
            if field in TEXTS and not isinstance(value, str | None):
                raise StudyError(f"{task}: {place}{field} must be text, found {type(value).__name__}")
            if field in FUNCTIONS and value is not None and not callable(value):
                raise StudyError(f"{task}: {place}{field} must be a function, as in `{field}: !function utils.name`")
    until = (config.get("generation_kwargs") or {}).get("until", [])
    if not all(isinstance(stop, str) for stop in (until if isinstance(until, list) else [until])):
        raise StudyError(f"{task}: generation_kwargs.until must be a text or a list of texts, found {until!r}")
    for field, name in (("metric_list", "metric"), ("filter_list", "filter")):
        entries = config.get(field) or []
        if not isinstance(entries, list) or not all(isinstance(one, dict) and name in one for one in entries):
            raise StudyError(f"{task}: {field} must be a list, each entry of it with a key {name}")
    _check_filters(config.get("filter_list") or [], task)


def _check_filters(chains: Sequence[Mapping[str, Any]], task: str) -> None:
    """Refuse filters that the harness cannot build."""
    for chain in chains:
        try:
            parts = [[part["function"], {k: v for k, v in part.items() if k != "function"}] for part in chain["filter"]]
            for build in build_filter_ensemble(chain["name"], parts).filters:
                build()
        except Exception as error:  # filters take arguments of any kind
            reason = reason_of(error)
            raise StudyError(f"{task}: filter {chain.get('name')} of filter_list cannot be built ({reason})") from error


def _check_supported(config: TaskConfig, task: str) -> None:
    """Refuse definitions whose scores would not be the harness's."""
    kind = config.get("output_type", "generate_until")
    generation = config.get("generation_kwargs") or {}
    sampled = generation.get("do_sample") or (generation.get("do_sample") is None and generation.get("temperature"))
    description = str(config.get("description") or "")
    obstacles = {
        "is written in Python, not as a task file": "class" in config,
        f"has output type {kind}": kind not in ("multiple_choice", "generate_until"),
        "needs images or sound": bool(config.get("doc_to_image") or config.get("doc_to_audio")),
        "runs generated code": bool(config.get("unsafe_code")),
        "draws several answers at random": kind == "generate_until" and (config.get("repeats", 1) > 1 or bool(sampled)),
        "scores its choices with a function of its own": kind == "multiple_choice" and "process_results" in config,
        "treats demonstrations apart": "process_docs" in (config.get("fewshot_config") or {}),
        "has a description that changes from row to row": "{{" in description or "{%" in description,
    }
    for obstacle, present in obstacles.items():
        if present:
            raise StudyError(f"{task} {obstacle}; {SUPPORTED}")


def _check_shape(task: Task, name: str) -> None:
    """Refuse what only shows on rows: a template that names no field, several prompts or right answers per row."""
    template = task.config.doc_to_text
    if isinstance(template, str) and template.isidentifier() and template not in task.features:
        raise StudyError(
            f"{name} reads the field {template}, which no row has; the rows have {', '.join(task.features)}"
        )
    if task.multiple_input:
        raise StudyError(f"{name} has a prompt per choice, or one that is a bare number; {SUPPORTED}")
    if task.multiple_target and task.OUTPUT_TYPE == "multiple_choice":
        raise StudyError(f"{name} has several right choices; {SUPPORTED}")
