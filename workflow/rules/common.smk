"""Checks the configuration and names what the rules share. No rule stands here."""

import json
import os
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path


def checkout(folder):
    """The root of the workflow on this machine, from the `folder` of this file, wherever it is imported from."""
    if folder.is_local:
        return Path(folder.get_path_or_uri(secret_free=True)).parents[1]
    repository = folder.hosted_repo.repo  # cloned by Snakemake, which hands out single files of it
    commit = repository.commit(folder.ref).hexsha
    root = folder.cache_path / "iclscope" / commit
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent) as unpacked:
            repository.git.execute(["git", "archive", "--format=tar", f"--output={unpacked}/all.tar", commit])
            shutil.unpack_archive(f"{unpacked}/all.tar", f"{unpacked}/all", filter="data")
            Path(unpacked, "all").rename(root)
    return root


ROOT = checkout(workflow.current_basedir)
SCRIPTS = str(ROOT / "workflow/scripts")
sys.path.insert(0, SCRIPTS)
# Jobs find the package there too, also where their script comes from a repository.
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([SCRIPTS, *filter(None, [os.environ.get("PYTHONPATH")])]))

from iclscope.matrix import blocks
from iclscope.report.closing import closing_line
from iclscope.runtime.code_digest import code_digest
from iclscope.runtime import lock, settings, task_files
from iclscope.tasks import samples
from iclscope.runtime.parquet import read_provenance
from iclscope.runtime.provenance import digest
from snakemake.common.tbdstring import TBDString
from snakemake.pathvars import Pathvars

# Masks, metrics, poolings and selectors of the study's own.
EXTENSIONS = sorted((ROOT / "config/extensions").glob("*.py"))

settings.check_files([*workflow.configfiles, *workflow.overwrite_configfiles])
settings.check(config, ROOT / "workflow/schemas/config.schema.yaml", EXTENSIONS)
settings.expand_home(config)
workflow.pathvars.update(Pathvars.from_config(config))

code_digest = partial(code_digest, extensions=EXTENSIONS)

# The order of a set of texts follows from it; a task's own functions may go by such an order.
os.environ["PYTHONHASHSEED"] = str(config["seed"])

HELD = []  # the lock of a run, until its process ends


onstart:
    HELD.append(lock.begin())


MODELS = list(config["models"])
DATASETS = list(config["datasets"])
MASKS = list(config["masks"])

# What shapes activations; the size of a batch does not.
EXTRACTION = {key: config["activations"][key] for key in ("sites", "top_k")}

# The files that define the task of each data set, if it is none of the harness's.
TASK_FILES = {dataset: task_files.inputs(entry["task"]) for dataset, entry in config["datasets"].items()}

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


def parts_of_model(wildcards):
    """Input function: further wheels whose files continue that of the model's first one."""
    parts = config["models"][wildcards.model].get("parts", [])
    return [f"<resources>/wheels/{part['package']}-{part['version']}.whl" for part in parts]


def local_files(section):
    """Input function: those files of `source: files` that exist; the job says which are missing."""

    def present(wildcards):
        entry = config[section][wildcards[0]]
        named = [*entry.get("files", {}).values(), *([entry["path"]] if "path" in entry else [])]
        folders = [file for path in named for file in Path(path).glob("*") if Path(path).is_dir()]
        return [str(path) for path in (*map(Path, named), *sorted(folders)) if path.is_file()]

    return present


def files_of_task(wildcards):
    """Input function: all files that the task is loaded from, for tasks that are not the harness's."""
    return TASK_FILES[wildcards.dataset]


def encoder_files(wildcards):
    """Input function: the files of a sentence encoder on this machine."""
    folder = config["features"].get("encoder", {}).get("path")
    return sorted(str(file) for file in Path(folder).rglob("*") if file.is_file()) if folder else []


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

    Candidates ask in turn only where they are all that the items leave: more items shall not redo what depends on the
    candidates alone.
    """
    entry = config["datasets"][wildcards.dataset]
    if wildcards.role == "items":
        return entry["candidates"]
    return entry["items"] if entry["candidates"] == samples.ALL else 0


def size_of(wildcards, role):
    """How many candidates or items a data set has: where all are asked for, its pool says it."""
    entry = config["datasets"][wildcards.dataset]
    asks_pool = samples.ALL in (entry["candidates"], entry["items"])
    pool = checkpoints.pool.get(dataset=wildcards.dataset).output[0] if asks_pool else ""
    return samples.size(pool, entry, role, f"datasets.{wildcards.dataset}")


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
    candidates = size_of(wildcards, samples.CANDIDATE)
    folder = f"<results>/evaluation/{wildcards.model}/{wildcards.dataset}/blocks"
    grid = blocks.grid(candidates, items, blocks.size(config, wildcards.dataset))
    return [f"{folder}/{blocks.name(rows, columns)}.parquet" for rows, columns in grid]


def asked_of_matrix(wildcards):
    """Params function: how many candidates and items a score matrix may have, and when fewer items are enough."""
    asked = {f"{role}s": size_of(wildcards, role) for role in (samples.CANDIDATE, samples.ITEM)}
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
