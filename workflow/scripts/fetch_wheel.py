"""Adapter of rule fetch_wheel."""

from iclscope.runtime import jobs
from iclscope.sources import wheels

with jobs.job(snakemake):
    wheels.fetch_wheel(**snakemake.params.settings, **snakemake.output)
