"""Checks the configuration and names what the rules share. No rule stands here."""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, f"{workflow.basedir}/workflow/scripts")

from iclscope import blocks, progress, settings
from iclscope.provenance import code_digest

settings.check(config, Path(workflow.basedir, "workflow/schemas/config.schema.yaml"))

MODELS = list(config["models"])
DATASETS = list(config["datasets"])
MASKS = list(config["masks"])

# Where a task is defined; task files of the user's own stand there too. A relative path, since Snakemake would take a
# study that was moved to another folder for one with other inputs.
TASKS = Path(os.path.relpath(Path(workflow.basedir, "config/tasks")))

# A job that runs a model takes every core it may have, and one GPU where jobs are given one.
MODEL_THREADS = workflow.cores or 4


def wheel_of(section):
    """Input function: the wheel that a model or data set (the wildcard named by `section`) comes from, if any."""

    def wheel(wildcards):
        entry = config[section][wildcards[0]]
        return f"<resources>/wheels/{entry['package']}-{entry['version']}.whl" if entry["source"] == "wheel" else []

    return wheel


def local_files(section):
    """Input function: those files of `source: files` that exist; the job says which are missing."""

    def present(wildcards):
        entry = config[section][wildcards[0]]
        named = [*entry.get("files", {}).values(), *([entry["path"]] if "path" in entry else [])]
        folders = [file for path in named for file in Path(path).glob("*") if Path(path).is_dir()]
        return [str(path) for path in (*map(Path, named), *sorted(folders)) if path.is_file()]

    return present


def task_file(wildcards):
    """Input function: the task's own file, for tasks that are not the harness's."""
    file = TASKS / f"{config['datasets'][wildcards.dataset]['task']}.yaml"
    return str(file) if file.is_file() else []


def counting_model(wildcards):
    """Input function: the model whose tokenizer counts the tokens of a data set with a `max_tokens` filter."""
    limits = config["datasets"][wildcards.dataset].get("max_tokens")
    return f"<resources>/models/{limits['tokenizer']}/source.json" if limits else []


def opposite_count(wildcards):
    """Params function: for items, how many candidates there are, since both may come from the two ends of one split.

    Candidates do not ask in turn: more items shall not redo what depends on the candidates alone.
    """
    return config["datasets"][wildcards.dataset]["candidates"] if wildcards.role == "items" else 0


def settings_without(*keys):
    """Params function: a data set's settings but for those that do not concern the rule."""

    def chosen(wildcards):
        entry = config["datasets"][wildcards.dataset]
        return {key: value for key, value in entry.items() if key not in keys}

    return chosen


def all_blocks(wildcards):
    """Input function: every block of a data set's score matrix."""
    size, entry = config["evaluation"]["block"], config["datasets"][wildcards.dataset]
    return [
        f"<results>/evaluation/{wildcards.model}/{wildcards.dataset}/blocks/{blocks.name(candidates, items)}.parquet"
        for candidates in blocks.cut(entry["candidates"], size["candidates"])
        for items in blocks.cut(entry["items"], size["items"])
    ]


def study_of(dataset):
    """The configuration as it concerns one data set."""
    return {**config, "datasets": {dataset: config["datasets"][dataset]}}


FINAL_TABLES = ["correlation", "headline", "quality", "reliability", "selection"]


def final_tables(datasets):
    """Inputs by table name: the final tables of every data set and model, models fastest."""
    return {
        table: [f"<results>/{table}/{model}/{dataset}.parquet" for dataset in datasets for model in MODELS]
        for table in FINAL_TABLES
    }
