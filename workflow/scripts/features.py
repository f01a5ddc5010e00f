"""Adapter of rule features."""

from iclscope.runtime import jobs
from iclscope.signals import features

with jobs.job(snakemake) as job:
    inputs = {**snakemake.input, "model": jobs.prepared_model(snakemake)}
    features.run(**inputs, settings=snakemake.params.settings, **snakemake.output, job=job)
