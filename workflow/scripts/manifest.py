"""Adapter of rule manifest."""

from iclscope.report import manifest
from iclscope.runtime import jobs

with jobs.job(snakemake):
    manifest.run(**snakemake.output)
