"""Adapter of rule selection."""

from iclscope.runtime import jobs
from iclscope.selection import trial

with jobs.job(snakemake) as job:
    metrics, codes = jobs.by_name(snakemake.params.masks, snakemake.input.metrics), jobs.by_stem(snakemake.input.codes)
    some = jobs.present(snakemake, "dictionary", "activations", "representations")
    files = trial.Files(**{**snakemake.input, "metrics": metrics, "codes": codes, **some})
    targets, settings = snakemake.params.targets, snakemake.params.settings
    trial.run(files=files, targets=targets, settings=settings, **snakemake.output, job=job)
