"""Adapter of rule agreement."""

from iclscope.runtime import jobs
from iclscope.selection import agreement

with jobs.job(snakemake) as job:
    evaluations = jobs.by_name(snakemake.params.models, snakemake.input.evaluations)
    files = agreement.Files(**{**snakemake.input, "evaluations": evaluations})
    model, targets, settings = snakemake.wildcards.model, snakemake.params.targets, snakemake.params.settings
    agreement.run(model=model, files=files, targets=targets, settings=settings, **snakemake.output, job=job)
