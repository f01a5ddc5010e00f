"""Adapter of rule sample."""

from iclscope import sampling
from iclscope.jobs import job

with job(snakemake) as provenance:
    dataset, role = snakemake.wildcards.dataset, snakemake.wildcards.role
    sampling.run_sample(
        pool=snakemake.input[0],
        role=role.removesuffix("s"),
        count=snakemake.params.settings,
        opposite=snakemake.params.opposite,
        output=snakemake.output[0],
        provenance=provenance,
        key=f"datasets.{dataset}.{role}",
    )
