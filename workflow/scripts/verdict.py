"""Adapter of rules verdict and verdict_of_dataset."""

from iclscope.runtime import jobs
from iclscope.verdict import results, rules

with jobs.job(snakemake) as job:
    datasets = list(snakemake.wildcards) or list(snakemake.config["datasets"])
    studies = results.paths_by_study(snakemake.input, datasets, snakemake.params.models)
    settings, number = snakemake.params.settings, snakemake.params.study_tables
    rules.run(studies=studies, settings=settings, study_tables=number, **snakemake.output, job=job)
