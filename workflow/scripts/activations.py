"""Adapter of rule activations."""

from iclscope.activations import extraction
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    inputs = {**snakemake.input, "model": jobs.prepared_model(snakemake)}
    settings, code = jobs.section(snakemake, "activations"), snakemake.params.code
    activations_out = jobs.by_stem(snakemake.output.activations_out)
    extraction.run(**inputs, settings=settings, code=code, activations_out=activations_out, job=job)
