"""Adapter of rule plots."""

from pathlib import Path

from iclscope.report import figures
from iclscope.runtime.jobs import job

with job(snakemake):
    of, folder = snakemake.wildcards, Path(snakemake.output[0]).parent
    tables, number = dict(snakemake.input.items()), snakemake.params.study_tables
    figures.run(model=of.model, dataset=of.dataset, tables=tables, study_tables=number, folder=folder)
