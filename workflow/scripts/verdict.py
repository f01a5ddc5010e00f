"""Adapter of rules verdict and verdict_of_dataset."""

from iclscope.runtime.jobs import job
from iclscope.verdict import results, rules

with job(snakemake) as provenance:
    dataset = snakemake.wildcards.get("dataset")
    rules.run(
        studies=results.paths_by_study(
            snakemake.input, [dataset] if dataset else list(snakemake.config["datasets"]), snakemake.params.models
        ),
        settings=snakemake.params.settings,
        verdict_out=snakemake.output.verdict,
        summary_out=snakemake.output.summary,
        provenance=provenance,
    )
