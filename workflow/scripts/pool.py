"""Adapter of rule pool."""

from iclscope.runtime import jobs
from iclscope.tasks import pool

with jobs.job(snakemake) as job:
    data, model = jobs.folder_of(snakemake.input.data), jobs.folder_of(snakemake.input.model)
    dataset, settings = snakemake.wildcards.dataset, snakemake.params.settings
    inputs = {"data": data, "task": jobs.task(snakemake), "model": model}
    pool.run_pool(**inputs, dataset=dataset, settings=settings, **snakemake.output, job=job)
