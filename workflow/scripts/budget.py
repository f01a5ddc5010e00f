"""Adapter of rule budget."""

from iclscope.labelling import budget
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    files = budget.Files(**{**snakemake.input, **jobs.present(snakemake, "representations")})
    budget.run(files=files, settings=snakemake.params.settings, **snakemake.output, job=job)
