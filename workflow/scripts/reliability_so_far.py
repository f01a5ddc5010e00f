"""Adapter of checkpoint reliability_so_far."""

from iclscope import stopping
from iclscope.jobs import job

with job(snakemake):
    stopping.write_reliability(blocks=list(snakemake.input), output=snakemake.output[0])
