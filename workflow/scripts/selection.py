"""Adapter of rule selection."""

from iclscope.runtime.jobs import job
from iclscope.selection import trial

with job(snakemake) as provenance:
    trial.run(
        metrics=dict(zip(snakemake.params.masks, snakemake.input.metrics, strict=True)),
        **{name: snakemake.input[name] for name in ("evaluation", "features", "embeddings", "candidates")},
        items=snakemake.input.questions,
        targets=snakemake.params.targets,
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        selection_out=snakemake.output[0],
        provenance=provenance,
    )
