"""Adapter of rule index."""

from iclscope import report, results
from iclscope.jobs import job

with job(snakemake):
    datasets, models = list(snakemake.config["datasets"]), snakemake.params.models
    report.run_index(
        studies=results.paths_by_study(snakemake.input, datasets, models),
        run_record=snakemake.input.run_record,
        verdict=snakemake.input.verdict,
        settings=snakemake.params.settings,
        output=snakemake.output[0],
    )
