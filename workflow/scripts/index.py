"""Adapter of rule index."""

from iclscope.report import pages
from iclscope.runtime.jobs import job

with job(snakemake):
    files = pages.IndexFiles.of(list(snakemake.config["datasets"]), snakemake.params.models, snakemake.input)
    settings, number = snakemake.params.settings, snakemake.params.study_tables
    pages.run_index(files, settings=settings, study_tables=number, output=snakemake.output[0])
