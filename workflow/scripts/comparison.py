"""Adapter of rule comparison."""

from pathlib import Path

from iclscope.report import comparison
from iclscope.runtime.jobs import job
from iclscope.verdict import results

with job(snakemake):
    dataset = snakemake.wildcards.dataset
    comparison.run(
        dataset=dataset,
        models=results.paths_by_study(snakemake.input, [dataset], snakemake.params.models)[dataset],
        effect=snakemake.params.settings,
        folder=Path(snakemake.output[0]).parent,
    )
