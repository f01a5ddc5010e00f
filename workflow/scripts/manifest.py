"""Adapter of rule manifest."""

from iclscope import manifest
from iclscope.jobs import job

with job(snakemake):
    manifest.run(snakemake.output[0])
