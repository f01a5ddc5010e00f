"""Adapter of rule page."""

from iclscope.report import pages
from iclscope.runtime.jobs import job

with job(snakemake):
    files = pages.PageFiles.of(snakemake.wildcards.dataset, snakemake.params.models, snakemake.input)
    settings, number = snakemake.params.settings, snakemake.params.study_tables
    pages.run_page(files, settings=settings, study_tables=number, output=snakemake.output[0])
