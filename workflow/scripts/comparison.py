"""Adapter of rule comparison."""

from pathlib import Path

from iclscope.report import figures
from iclscope.runtime.jobs import job
from iclscope.verdict.results import paths_by_study

with job(snakemake):
    dataset, folder = snakemake.wildcards.dataset, Path(snakemake.output[0]).parent
    tables = paths_by_study(snakemake.input, [dataset], snakemake.params.models)[dataset]
    figures.run_comparison(dataset, tables, snakemake.params.study_tables, folder)
