"""Adapter of rule pool."""

from pathlib import Path

from iclscope.runtime import task_files
from iclscope.runtime.jobs import job
from iclscope.tasks import pool

with job(snakemake) as provenance:
    pool.run_pool(
        data=Path(snakemake.input.data).parent,
        dataset=snakemake.wildcards.dataset,
        settings=snakemake.params.settings,
        task_folder=task_files.folder(snakemake.params.settings["task"]),
        model_folder=Path(snakemake.input.model).parent,
        seed=snakemake.params.seed,
        output=snakemake.output[0],
        provenance=provenance,
    )
