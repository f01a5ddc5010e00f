"""Adapter of rule manifest."""

from iclscope.runtime import jobs, manifest

with jobs.job(snakemake):
    manifest.run(**snakemake.output)
