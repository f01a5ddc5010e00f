"""Adapter of rule evaluation."""

from iclscope import matrix, stopping
from iclscope.jobs import job

with job(snakemake) as provenance:
    settings = snakemake.params.settings
    if "reliability" in settings:
        whole = stopping.read_needed(snakemake.input[0])
    else:
        whole = {"blocks": list(snakemake.input), **settings}
    matrix.gather(**whole, output=snakemake.output[0], provenance=provenance)
