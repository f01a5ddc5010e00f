"""Adapter of rule page."""

from iclscope.report import pages
from iclscope.runtime.jobs import job

with job(snakemake):
    files = pages.PageFiles.of(snakemake.wildcards.dataset, snakemake.params.models, snakemake.input)
    pages.run_page(files, settings=snakemake.params.settings, output=snakemake.output[0])
