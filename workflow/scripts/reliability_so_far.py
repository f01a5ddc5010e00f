"""Adapter of checkpoint reliability_so_far."""

from iclscope.matrix import stopping
from iclscope.runtime import jobs

with jobs.job(snakemake):
    stopping.write_reliability(**snakemake.input, **snakemake.output)
