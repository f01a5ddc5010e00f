"""Adapter of rule index."""

from iclscope.report import pages
from iclscope.runtime.jobs import job
from iclscope.verdict import results

with job(snakemake):
    datasets, models = list(snakemake.config["datasets"]), snakemake.params.models
    pairs = [(dataset, model) for dataset in datasets for model in models]
    explorers = dict(zip(pairs, snakemake.input.explorers, strict=True))
    pages.run_index(
        studies=results.paths_by_study(snakemake.input, datasets, models),
        explorers={dataset: {model: explorers[dataset, model] for model in models} for dataset in datasets},
        run_record=snakemake.input.run_record,
        verdict=snakemake.input.verdict,
        settings=snakemake.params.settings,
        output=snakemake.output[0],
    )
