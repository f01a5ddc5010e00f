"""Adapter of rule massive."""

from iclscope.activations import massive
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    activations, model = jobs.by_stem(snakemake.input.activations), jobs.folder_of(snakemake.input.model)
    inputs = {**snakemake.input, "activations": activations, "model": model}
    massive.run(**inputs, **snakemake.output, job=job)
