"""Checks the configuration, locks the folder, and holds what needs Snakemake itself. No rule stands here.

`study` answers all that rules ask of the configuration.
"""

import json
import re
from pathlib import Path

from iclscope.matrix import blocks
from iclscope.report.closing import closing_line
from iclscope.runtime import devices, jobs, lock, slurm
from iclscope.runtime.configuration import checks, settings
from iclscope.runtime.code_digest import of_scripts
from iclscope.runtime.parquet import read_provenance
from iclscope.study import Study
from snakemake.common.tbdstring import TBDString
from snakemake.pathvars import Pathvars

# Masks, metrics, poolings and selectors of the study's own.
EXTENSIONS = jobs.extension_files()

checks.check_files([*workflow.configfiles, *workflow.overwrite_configfiles])
checks.check(config, ROOT / "workflow/schemas/config.schema.yaml", EXTENSIONS)
settings.expand_home(config)
workflow.pathvars.update(Pathvars.from_config(config))

code_digest = of_scripts(Path(".snakemake/iclscope.code.json"), extensions=EXTENSIONS).__getitem__
lock.give_jobs(PYTHONHASHSEED=config["seed"])  # the order of a set of texts; a task's own functions may go by it

study = Study(config, pool=lambda dataset: checkpoints.pool.get(dataset=dataset).output[0])

slurm.keep_jobs_without_answer()

HELD = []  # the lock of a run, until its process ends


onstart:
    HELD.append(lock.begin())


# A job that runs a model takes one GPU where jobs are given one. A cluster limits neither cores nor GPUs.
CORES, GPUS = (getattr(workflow.global_resources.get(name), "value", None) for name in ("_cores", "gpu"))
ON_CPU = bool(CORES) and devices.is_cpu(config["device"])
MODEL_GPUS = 0 if ON_CPU else 1


def model_threads(wildcards, input):
    """Resources function: the share of the cores of a job with a model."""
    return devices.share_of_cores(CORES, GPUS, ON_CPU, input.get("model")) if CORES else 4


def model_memory(wildcards, input, attempt):
    """Resources function: MB that a job with a model needs; more at every attempt. Not known before the model is there."""
    return attempt * devices.needed_mb(input.model) if Path(input.model).is_file() else TBDString()


def block_minutes(wildcards, attempt):
    """Resources function: the longest that a block of the score matrix may take, by the pairs in it."""
    (first, last), (start, end) = blocks.parse(wildcards.block)
    return attempt * (60 + (last - first) * (end - start) // 1000)


def needed_blocks(wildcards):
    """Input function: blocks column by column of items, until every target that the data set has is reliable."""
    model, dataset = wildcards.model, wildcards.dataset
    for end in study.stops(dataset):
        so_far = checkpoints.reliability_so_far.get(model=model, dataset=dataset, end=f"{end:05d}").output[0]
        if study.is_reliable(dataset, json.loads(Path(so_far).read_text())["alpha"]):
            return study.blocks(model, dataset, end)
    return study.blocks(model, dataset)


def activations_of(wildcards, mask):
    """Input function: the activations under a mask; as `ancient` where their job, if it runs, will leave them alone."""
    file = f"activations/{wildcards.model}/{wildcards.dataset}/{mask}.parquet"
    path, wanted = Path(study.results, file), study.extraction_digest(wildcards.model, code_digest("activations"))
    kept = path.is_file() and read_provenance(path).get("extraction") == wanted
    return ancient(f"<results>/{file}") if kept else f"<results>/{file}"
