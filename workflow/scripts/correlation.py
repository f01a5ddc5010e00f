"""Adapter of rule correlation."""

from iclscope.runtime.jobs import job
from iclscope.signals import correlation

with job(snakemake) as provenance:
    correlation.run(
        metrics=dict(zip(snakemake.params.masks, snakemake.input.metrics, strict=True)),
        features=snakemake.input.features,
        evaluation=snakemake.input.evaluation,
        reliability=snakemake.input.reliability,
        items=snakemake.input.questions,
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        correlation_out=snakemake.output.correlation,
        headline_out=snakemake.output.headline,
        provenance=provenance,
    )
