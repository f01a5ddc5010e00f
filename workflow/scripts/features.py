"""Adapter of rule features."""

from iclscope.runtime import jobs
from iclscope.signals import features

with jobs.job(snakemake) as job:
    files = features.Files(**jobs.present(snakemake, "candidates", "item_rows"))
    inputs = {"model": jobs.prepared_model(snakemake), "task": jobs.task(snakemake)}
    features.run(files=files, **inputs, settings=snakemake.params.settings, **snakemake.output, job=job)
