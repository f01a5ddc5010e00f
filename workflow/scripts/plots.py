"""Adapter of rule plots."""

from pathlib import Path

from iclscope.report import figures
from iclscope.runtime.jobs import job

with job(snakemake):
    figures.run(
        model=snakemake.wildcards.model,
        dataset=snakemake.wildcards.dataset,
        tables=dict(snakemake.input.items()),
        folder=Path(snakemake.output[0]).parent,
    )
