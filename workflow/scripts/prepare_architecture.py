"""Adapter of rule prepare_architecture."""

from pathlib import Path

from iclscope.runtime.jobs import job
from iclscope.sources import prepare_model

with job(snakemake):
    prepare_model.prepare_architecture(
        name=snakemake.wildcards.model,
        settings=snakemake.params.settings,
        folder=Path(snakemake.output[0]).parent,
    )
