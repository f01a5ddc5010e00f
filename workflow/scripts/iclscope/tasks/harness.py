"""Task definitions of lm-evaluation-harness on rows of our own, and its scoring of generated answers.

The harness loads a task together with its data from the hub. Here the definition comes alone and is built on rows that
are already on this machine. Importing this module takes seconds, since it imports the harness.
"""

import difflib
import functools
import logging
import numbers
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from iclscope.runtime.errors import StudyError
from iclscope.tasks.rows import Row

logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of every default that a task file leaves open
datasets.disable_progress_bars()

PROBES = 10  # rows that are tried before a task is said not to fit the data
LOADING = ("tag", "group", "metadata", "dataset_kwargs", "process_docs")  # of a definition; done before it is built
SUPPORTED = "supported are multiple_choice tasks with one prompt and one right choice, and greedy generate_until tasks"

TaskConfig = dict[str, Any]


def load_task(name: str, task_folder: str | Path, rows: Mapping[str, Sequence[Row]], key: str) -> ConfigurableTask:
    """The task `name` for rows that its `process_docs` has already seen, such as the documents of a sample.

    task_folder: task files of our own, which come before the harness's. rows: the rows of each split. key: the data
    set's config key, such as `datasets.boolq`, for errors.
    """
    return build_task(task_config(name, task_folder, key), [row for part in rows.values() for row in part], key)


def task_config(name: str, task_folder: str | Path, key: str) -> TaskConfig:
    """The definition of a task of this name; refuses an unknown one and one whose scores we could not match."""
    own = TaskManager(include_defaults=False, include_path=str(task_folder)).task_index
    file = Path(task_folder) / f"{name}.yaml"
    if name not in own and file.is_file():
        raise StudyError(
            f"{key}.task: {file} defines no task {name}; its field `task` must say so and its YAML be valid"
        )
    index = own if name in own else _harness_tasks()
    if name not in index:
        alike = difflib.get_close_matches(name, [*own, *index], n=5)
        hint = f"did you mean {', '.join(alike)}?" if alike else f"put a file {name}.yaml into {task_folder}"
        raise StudyError(f"{key}.task: neither {task_folder} nor lm-evaluation-harness has a task {name}; {hint}")
    entry = index[name]
    if entry.yaml_path is None or "group" in entry.cfg:
        raise StudyError(f"{key}.task: {name} is a group of tasks; name one task, {_members(entry)}")
    try:
        config = load_yaml(entry.yaml_path)
    except Exception as error:  # the file may import functions of its own
        raise StudyError(f"{key}.task: {entry.yaml_path} cannot be loaded ({reason_of(error)})") from error
    _check_supported(config, f"{key}.task: {name}")
    return config


def processed(config: TaskConfig, rows: Sequence[Row], key: str) -> list[Row]:
    """Rows of a split as the task's `process_docs` makes them; most tasks leave them as they are."""
    function = config.get("process_docs")
    if function is None:
        return list(rows)
    try:
        return list(function(datasets.Dataset.from_list(list(rows))))
    except Exception as error:  # the function is the task's own and may raise anything
        raise StudyError(
            f"{key}.task: process_docs of {config['task']} fails on these rows ({reason_of(error)})"
        ) from error


def build_task(config: TaskConfig, rows: Sequence[Row], key: str) -> ConfigurableTask:
    """Build a task on processed rows, without touching the network.

    The harness tries a task on one row when it builds it: the first row that it accepts serves as all of its splits.
    """
    name = config["task"]
    failures = []
    for row in rows[:PROBES]:
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
    raise StudyError(f"{key}.task: {name} does not fit the rows of this data set, the first fails with: {reason}")


def score_generation(task: ConfigurableTask, document: Row, text: str) -> list[dict[str, Any]]:
    """Every filter and metric of the task for a generated answer: rows of `filter`, `metric` and `value`.

    As the harness does, each filter chain turns the answer into what the metrics then compare with the document.
    Metrics that are no number for a single answer, such as the pairs of a corpus F1, are left out.
    """
    instance = Instance("generate_until", document, ("", {}), 0, resps=[text])
    scores = []
    for chain in task._filters:
        chain.apply([instance])
        metrics = task.process_results(document, [instance.filtered_resps[chain.name]])
        scores += [
            {"filter": chain.name, "metric": metric, "value": float(value)}
            for metric, value in metrics.items()
            if isinstance(value, numbers.Real)
        ]
    if not scores:
        raise StudyError(f"task {task.config.task} has no metric that scores a single answer; add exact_match to it")
    return scores


def stop_sequences(task: ConfigurableTask) -> list[str]:
    """Texts that end a generated answer; the harness adds the model's end-of-text token."""
    until = task.config.generation_kwargs["until"]
    return [until] if isinstance(until, str) else list(until)


def max_new_tokens(task: ConfigurableTask) -> int:
    """Longest generated answer in tokens, under whichever of its names the task sets it; 256 where it does not."""
    return normalize_gen_kwargs(task.config.generation_kwargs)["max_gen_toks"]


def reason_of(error: Exception) -> str:
    """The first line of an error, with its kind where the text alone says nothing."""
    text = next(iter(str(error).splitlines()), "")[:120]
    return f"field {text} is missing" if isinstance(error, KeyError) else text or type(error).__name__


def _build_on(config: TaskConfig, row: Row) -> ConfigurableTask:
    probe = datasets.Dataset.from_list([row])
    splits = defaultdict(lambda: probe)
    kept = {field: value for field, value in config.items() if field not in LOADING}
    return ConfigurableTask(config={**kept, "custom_dataset": lambda: splits})


@functools.cache
def _harness_tasks() -> Mapping[str, Any]:
    """Index of the harness's own tasks; building it takes some seconds."""
    return TaskManager().task_index


def _members(entry: Any) -> str:
    names = (
        sorted(entry.tags) if entry.yaml_path is None else [m for m in entry.cfg.get("task", []) if isinstance(m, str)]
    )
    return f"such as {', '.join(names[:5])}" if names else "not the group"


def _check_supported(config: TaskConfig, task: str) -> None:
    """Refuse definitions whose scores would not be the harness's."""
    kind = config.get("output_type", "generate_until")
    generation = config.get("generation_kwargs") or {}
    sampled = generation.get("do_sample") or (generation.get("do_sample") is None and generation.get("temperature"))
    description = config.get("description") or ""
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


def _check_shape(task: ConfigurableTask, name: str) -> None:
    """Refuse what only shows on rows: a template that names no field, several prompts or right answers per row."""
    template = task.config.doc_to_text
    if isinstance(template, str) and template.isidentifier() and template not in task.features:
        raise StudyError(
            f"{name} reads the field {template}, which no row has; the rows have {', '.join(task.features)}"
        )
    if task.multiple_input:
        raise StudyError(f"{name} has a prompt per choice; {SUPPORTED}")
    if task.multiple_target and task.OUTPUT_TYPE == "multiple_choice":
        raise StudyError(f"{name} has several right choices; {SUPPORTED}")
