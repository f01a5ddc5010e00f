"""Adapter of rule prepare_model."""

from pathlib import Path

from iclscope import model_source
from iclscope.jobs import job

study = snakemake.config  # which makes nothing again where it changes: the folder stays the same

with job(snakemake):
    model_source.prepare_model(
        name=snakemake.wildcards.model,
        settings=snakemake.params.settings,
        wheel=snakemake.input.get("wheel"),
        parts=snakemake.input.get("parts", []),
        folder=Path(snakemake.output[0]).parent,
        reading={
            "masks": study["masks"],
            "sites": study["activations"]["sites"],
            "dtype": study["models"][snakemake.wildcards.model]["dtype"],
        },
    )
