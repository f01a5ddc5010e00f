"""Adapter of rule quality."""

from iclscope.matrix import quality
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    quality.run(**snakemake.input, settings=snakemake.params.settings, **snakemake.output, job=job)
