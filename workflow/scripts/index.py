"""Adapter of rule index."""

from iclscope.report import pages
from iclscope.runtime.jobs import job

with job(snakemake):
    files = pages.IndexFiles.of(list(snakemake.config["datasets"]), snakemake.params.models, snakemake.input)
    pages.run_index(files, settings=snakemake.params.settings, output=snakemake.output[0])
