"""Adapter of rule correlation."""

from iclscope.runtime import jobs
from iclscope.signals import correlation

with jobs.job(snakemake) as job:
    metrics = jobs.by_name(snakemake.params.masks, snakemake.input.metrics)
    saes = jobs.by_stem(snakemake.input.saes)
    files = correlation.Files(**{**snakemake.input, "metrics": metrics, "saes": saes})
    correlation.run(files=files, settings=snakemake.params.settings, **snakemake.output, job=job)
