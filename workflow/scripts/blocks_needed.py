"""Adapter of rule blocks_needed."""

from iclscope import stopping
from iclscope.jobs import job

with job(snakemake):
    stopping.write_needed(
        blocks=list(snakemake.input.blocks),
        settings=snakemake.params.settings,
        output=snakemake.output[0],
    )
