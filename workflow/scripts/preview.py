"""Adapter of rule render."""

from iclscope.runtime import jobs
from iclscope.tasks import preview

with jobs.job(snakemake) as job:
    settings = snakemake.params.settings
    data = jobs.by_name(settings, map(jobs.folder_of, snakemake.input.data))
    models = jobs.by_name(settings, map(jobs.folder_of, snakemake.input.models))
    preview.run_from_data(settings=settings, data=data, models=models, **snakemake.output, job=job)
