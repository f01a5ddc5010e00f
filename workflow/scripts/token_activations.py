"""Adapter of rule token_activations."""

from pathlib import Path

from iclscope.activations import store
from iclscope.runtime.jobs import job

with job(snakemake) as provenance:
    store.run(
        candidates=snakemake.input.candidates,
        model_folder=Path(snakemake.input.model).parent,
        mask=snakemake.wildcards.mask,
        settings={**snakemake.config["activations"], **snakemake.params.settings},
        dtype=snakemake.params.dtype,
        device=snakemake.config["device"],
        output=snakemake.output[0],
        provenance=provenance,
    )
