"""Adapter of rule selection."""

from iclscope.runtime import jobs
from iclscope.selection import trial

with jobs.job(snakemake) as job:
    metrics = jobs.by_name(snakemake.params.masks, snakemake.input.metrics)
    sparse = {"codes": jobs.by_stem(snakemake.input.codes), **jobs.present(snakemake, "dictionary", "activations")}
    files = trial.Files(**{**snakemake.input, "metrics": metrics, **sparse})
    targets, settings = snakemake.params.targets, snakemake.params.settings
    trial.run(files=files, targets=targets, settings=settings, **snakemake.output, job=job)
