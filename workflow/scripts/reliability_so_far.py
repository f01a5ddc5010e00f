"""Adapter of checkpoint reliability_so_far."""

from iclscope.matrix import stopping
from iclscope.runtime.jobs import job

with job(snakemake):
    stopping.write_reliability(blocks=list(snakemake.input), output=snakemake.output[0])
