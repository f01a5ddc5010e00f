"""Adapter of rule token_activations."""

from iclscope.activations import store
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    inputs = {**snakemake.input, "model": jobs.prepared_model(snakemake)}
    settings, mask = jobs.section(snakemake, "activations"), snakemake.wildcards.mask
    store.run(**inputs, mask=mask, settings=settings, **snakemake.output, job=job)
