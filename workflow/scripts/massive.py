"""Adapter of rule massive."""

from pathlib import Path

from iclscope.activations import massive
from iclscope.runtime.jobs import job

with job(snakemake) as provenance:
    massive.run(
        activations={Path(path).stem: path for path in snakemake.input.activations},
        candidates=snakemake.input.candidates,
        model_folder=Path(snakemake.input.model).parent,
        output=snakemake.output[0],
        provenance=provenance,
    )
