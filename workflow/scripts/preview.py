"""Adapter of rule render."""

from iclscope.runtime import jobs
from iclscope.tasks import preview

with jobs.job(snakemake):
    settings = snakemake.params.settings
    pools = jobs.by_name(settings, snakemake.input.pools)
    models = jobs.by_name(settings, map(jobs.folder_of, snakemake.input.models))
    preview.run(settings=settings, pools=pools, models=models, **snakemake.output)
