"""Adapter of rule evaluation."""

from iclscope import matrix
from iclscope.jobs import job

with job(snakemake) as provenance:
    matrix.gather(
        blocks=list(snakemake.input),
        output=snakemake.output[0],
        provenance=provenance,
        **snakemake.params.settings,
    )
