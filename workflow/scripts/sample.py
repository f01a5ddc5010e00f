"""Adapter of rule sample."""

from iclscope.runtime.jobs import job
from iclscope.tasks import samples

with job(snakemake) as provenance:
    dataset, role = snakemake.wildcards.dataset, snakemake.wildcards.role
    samples.run_sample(
        pool=snakemake.input[0],
        role=role.removesuffix("s"),
        count=snakemake.params.settings,
        opposite=snakemake.params.opposite,
        output=snakemake.output[0],
        provenance=provenance,
        key=f"datasets.{dataset}.{role}",
    )
