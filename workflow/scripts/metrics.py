"""Adapter of rule metrics."""

from iclscope import metrics
from iclscope.jobs import job
from iclscope.provenance import digest

with job(snakemake) as provenance:
    metrics.run(
        activations=snakemake.input.activations,
        extraction=digest([snakemake.params.extraction, snakemake.params.dtype, snakemake.params.code[1]]),
        settings=snakemake.params.settings,
        output=snakemake.output[0],
        provenance=provenance,
    )
