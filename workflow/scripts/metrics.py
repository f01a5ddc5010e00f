"""Adapter of rule metrics."""

from iclscope import metrics
from iclscope.jobs import job

with job(snakemake) as provenance:
    metrics.run(
        activations=snakemake.input.activations,
        settings=snakemake.params.settings,
        output=snakemake.output[0],
        provenance=provenance,
    )
