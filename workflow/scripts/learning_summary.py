"""Adapter of rule learning_summary."""

from iclscope.labelling import summary
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    settings = snakemake.params.settings
    summary.run(**snakemake.input, settings=settings, **snakemake.output, job=job)
