"""Adapter of rule selection."""

from iclscope import selection
from iclscope.jobs import job

with job(snakemake) as provenance:
    selection.run(
        metrics=dict(zip(snakemake.params.masks, snakemake.input.metrics, strict=True)),
        **{name: snakemake.input[name] for name in ("evaluation", "features", "embeddings", "candidates")},
        items=snakemake.input.questions,
        targets=snakemake.params.targets,
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        selection_out=snakemake.output[0],
        provenance=provenance,
    )
