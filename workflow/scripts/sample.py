"""Adapter of rule sample."""

from iclscope.runtime import jobs
from iclscope.tasks import samples

with jobs.job(snakemake, settings=snakemake.params.size) as job:
    role, params = snakemake.wildcards.role, snakemake.params
    asked = {"role": role.removesuffix("s"), "key": f"datasets.{snakemake.wildcards.dataset}.{role}"}
    samples.run_sample(
        **snakemake.input, **asked, size=params.size, opposite=params.opposite, **snakemake.output, job=job
    )
