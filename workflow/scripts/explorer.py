"""Adapter of rule explorer."""

from pathlib import Path

from iclscope.report import explorer
from iclscope.runtime.jobs import job
from iclscope.tables import FINAL_TABLES

with job(snakemake):
    explorer.run(
        model=snakemake.wildcards.model,
        dataset=snakemake.wildcards.dataset,
        tables={table: snakemake.input[table] for table in FINAL_TABLES},
        candidates=snakemake.input.candidates,
        items=snakemake.input.questions,
        evaluation=snakemake.input.evaluation,
        features=snakemake.input.features,
        metrics=dict(zip(snakemake.params.masks, snakemake.input.metrics, strict=True)),
        report_page=Path(snakemake.output[0]).parents[2] / f"{snakemake.wildcards.dataset}.html",
        output=snakemake.output[0],
    )
