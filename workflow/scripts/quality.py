"""Adapter of rule quality."""

from iclscope.matrix import quality
from iclscope.runtime.jobs import job

with job(snakemake) as provenance:
    quality.run(
        evaluation=snakemake.input[0],
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        quality_out=snakemake.output.quality,
        reliability_out=snakemake.output.reliability,
        provenance=provenance,
    )
