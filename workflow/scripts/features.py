"""Adapter of rule features."""

from pathlib import Path

from iclscope.runtime.jobs import job
from iclscope.signals import features

with job(snakemake) as provenance:
    features.run(
        candidates=snakemake.input.candidates,
        items=snakemake.input.questions,
        model_folder=Path(snakemake.input.model).parent,
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        dtype=snakemake.params.dtype,
        device=snakemake.config["device"],
        features=snakemake.output.features,
        embeddings=snakemake.output.embeddings,
        provenance=provenance,
    )
