"""Adapter of rule metrics."""

from iclscope.runtime.jobs import job
from iclscope.runtime.provenance import digest
from iclscope.signals import metrics

with job(snakemake) as provenance:
    metrics.run(
        activations=snakemake.input.activations,
        extraction=digest([snakemake.params.extraction, snakemake.params.dtype, snakemake.params.code[1]]),
        settings=snakemake.params.settings,
        output=snakemake.output[0],
        provenance=provenance,
    )
