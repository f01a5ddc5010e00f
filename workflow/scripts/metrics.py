"""Adapter of rule metrics."""

from iclscope.runtime import jobs
from iclscope.runtime.provenance import digest
from iclscope.signals import metrics

with jobs.job(snakemake) as job:
    params, activations = snakemake.params, jobs.by_stem(snakemake.input.activations)
    made_with = {"extraction": digest([params.extraction, params.dtype, params.code[1]]), "code": params.code[0]}
    metrics_out = jobs.by_stem(snakemake.output.metrics_out)
    metrics.run(activations=activations, **made_with, settings=params.settings, metrics_out=metrics_out, job=job)
