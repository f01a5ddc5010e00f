"""Adapter of rule prepare_architecture."""

from pathlib import Path

from iclscope import model_source
from iclscope.jobs import job

with job(snakemake):
    model_source.prepare_architecture(
        name=snakemake.wildcards.model,
        settings=snakemake.params.settings,
        folder=Path(snakemake.output[0]).parent,
    )
