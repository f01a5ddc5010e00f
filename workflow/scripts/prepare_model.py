"""Adapter of rule prepare_model."""

from functools import partial
from pathlib import Path

from iclscope.activations import proofs
from iclscope.runtime.jobs import job
from iclscope.sources import prepare_model

study = snakemake.config  # nothing is made again where it changes: the folder stays what it is

with job(snakemake):
    prepare_model.prepare_model(
        name=snakemake.wildcards.model,
        settings=snakemake.params.settings,
        wheel=snakemake.input.get("wheel"),
        parts=snakemake.input.get("parts", []),
        folder=Path(snakemake.output[0]).parent,
        check=partial(
            proofs.check_readable,
            masks=study["masks"],
            sites=study["activations"]["sites"],
            dtype=study["models"][snakemake.wildcards.model]["dtype"],
        ),
    )
