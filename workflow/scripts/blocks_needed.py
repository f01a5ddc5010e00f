"""Adapter of rule blocks_needed."""

from iclscope.matrix import stopping
from iclscope.runtime import jobs

with jobs.job(snakemake):
    stopping.write_needed(blocks=snakemake.input.blocks, settings=snakemake.params.settings, **snakemake.output)
