"""Adapter of rule sae_metrics."""

from iclscope.runtime import jobs
from iclscope.signals import sae_metrics

with jobs.job(snakemake) as job:
    files = sae_metrics.Files(**snakemake.input)
    sae_metrics.run(files=files, settings=snakemake.params.settings, **snakemake.output, job=job)
