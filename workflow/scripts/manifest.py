"""Adapter of rule manifest."""

from iclscope.runtime import manifest
from iclscope.runtime.jobs import job

with job(snakemake):
    manifest.run(snakemake.output[0])
