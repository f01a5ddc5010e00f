"""Adapter of rule estimate."""

from iclscope.plan import estimate
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    settings, datasets = snakemake.params.settings, snakemake.params.settings["datasets"]
    pools = jobs.by_name(datasets, snakemake.input.pools)
    models = jobs.by_name(settings["models"], map(jobs.folder_of, snakemake.input.models))
    task_folders = {name: jobs.task_of(entry, name).folder for name, entry in datasets.items()}
    inputs = {"pools": pools, "models": models, "task_folders": task_folders}
    estimate.run(settings=settings, **inputs, **snakemake.output, job=job)
