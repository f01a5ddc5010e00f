"""Adapter of rule explorer."""

from iclscope.report import explorer
from iclscope.runtime.jobs import job

with job(snakemake):
    of, files = snakemake.wildcards, explorer.ExplorerFiles.of(snakemake.params.masks, snakemake.input)
    number = snakemake.params.study_tables
    explorer.run(model=of.model, dataset=of.dataset, files=files, study_tables=number, output=snakemake.output[0])
