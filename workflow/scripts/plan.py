"""Adapter of rule estimate."""

from iclscope.plan import estimate
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    settings, task_folder = snakemake.params.settings, jobs.task_folder(snakemake)
    pools = jobs.by_name(settings["datasets"], snakemake.input.pools)
    models = jobs.by_name(settings["models"], map(jobs.folder_of, snakemake.input.models))
    inputs = {"pools": pools, "models": models, "task_folder": task_folder}
    estimate.run(settings=settings, **inputs, **snakemake.output, job=job)
