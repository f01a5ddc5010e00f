"""Adapter of rule blocks_needed."""

from iclscope.matrix import stopping
from iclscope.runtime.jobs import job

with job(snakemake):
    stopping.write_needed(
        blocks=list(snakemake.input.blocks),
        settings=snakemake.params.settings,
        output=snakemake.output[0],
    )
