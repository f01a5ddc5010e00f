"""Adapter of rule prepare_data."""

from iclscope.runtime import jobs
from iclscope.sources import prepare_data

with jobs.job(snakemake):
    task, settings = jobs.task(snakemake), snakemake.params.settings
    wheel, data_out = snakemake.input.get("wheel"), jobs.folder_of(snakemake.output.data_out)
    prepare_data.run(task=task, settings=settings, wheel=wheel, data_out=data_out)
