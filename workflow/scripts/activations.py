"""Adapter of rule activations."""

from pathlib import Path

from iclscope.activations import extraction
from iclscope.runtime.jobs import job

with job(snakemake) as provenance:
    extraction.run(
        candidates=snakemake.input.candidates,
        model_folder=Path(snakemake.input.model).parent,
        outputs={Path(path).stem: path for path in snakemake.output},
        settings={**snakemake.config["activations"], **snakemake.params.settings},
        dtype=snakemake.params.dtype,
        device=snakemake.config["device"],
        code=snakemake.params.code,
        provenance=provenance,
    )
