"""Adapter of rule features."""

from iclscope.runtime import jobs
from iclscope.signals import features

with jobs.job(snakemake) as job:
    samples = jobs.present(snakemake, "candidates", "item_rows")
    inputs = {**samples, "model": jobs.prepared_model(snakemake)}
    features.run(**inputs, settings=snakemake.params.settings, **snakemake.output, job=job)
