"""Adapter of rule metrics."""

from iclscope.runtime import jobs
from iclscope.runtime.provenance import digest
from iclscope.signals import metrics

with jobs.job(snakemake) as job:
    activations, params = snakemake.input.activations, snakemake.params
    extraction = digest([params.extraction, params.dtype, params.code[1]])
    metrics.run(activations=activations, extraction=extraction, settings=params.settings, **snakemake.output, job=job)
