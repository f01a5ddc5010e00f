"""Adapter of rule comparison."""

from pathlib import Path

from iclscope import comparison, results
from iclscope.jobs import job

with job(snakemake):
    dataset = snakemake.wildcards.dataset
    comparison.run(
        dataset=dataset,
        models=results.paths_by_study(snakemake.input, [dataset], snakemake.params.models)[dataset],
        effect=snakemake.params.settings,
        folder=Path(snakemake.output[0]).parent,
    )
