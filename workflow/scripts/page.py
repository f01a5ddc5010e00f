"""Adapter of rule page."""

from pathlib import Path

from iclscope.report import pages
from iclscope.runtime.jobs import job
from iclscope.verdict import results

with job(snakemake):
    dataset, models = snakemake.wildcards.dataset, snakemake.params.models
    tables = results.paths_by_study(snakemake.input, [dataset], models)[dataset]
    pages.run_page(
        dataset=dataset,
        models={m: {**tables[m], "massive": file} for m, file in zip(models, snakemake.input.massive, strict=True)},
        folders={model: Path(file).parent for model, file in zip(models, snakemake.input.figures, strict=True)},
        comparison=snakemake.input.get("comparison") or None,
        explorers=dict(zip(models, snakemake.input.explorers, strict=True)),
        candidates=snakemake.input.candidates,
        run_record=snakemake.input.run_record,
        verdict=snakemake.input.verdict,
        settings=snakemake.params.settings,
        output=snakemake.output[0],
    )
