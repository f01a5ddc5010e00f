"""Adapter of rule evaluation."""

from iclscope import matrix
from iclscope.jobs import job

with job(snakemake) as provenance:
    sources = [snakemake.input.pool, snakemake.input.model, *([snakemake.input.task] if snakemake.input.task else [])]
    matrix.gather(
        blocks=snakemake.input.blocks,
        origin={
            "inputs": {path: provenance["inputs"][path] for path in sources},
            "settings": snakemake.params.block_settings,
            "dtype": snakemake.params.dtype,
        },
        output=snakemake.output[0],
        provenance=provenance,
        **snakemake.params.settings,
    )
