"""Adapter of rule token_activations."""

from pathlib import Path

from iclscope import token_activations
from iclscope.jobs import job

with job(snakemake) as provenance:
    token_activations.run(
        candidates=snakemake.input.candidates,
        model_folder=Path(snakemake.input.model).parent,
        mask=snakemake.wildcards.mask,
        settings={**snakemake.config["activations"], **snakemake.params.settings},
        dtype=snakemake.params.dtype,
        device=snakemake.config["device"],
        output=snakemake.output[0],
        provenance=provenance,
    )
