"""Adapter of rule learning."""

from iclscope.labelling import learning
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    files = learning.Files(**jobs.present(snakemake, "candidates", "item_rows", "pool", "encodings", "representations"))
    settings, code = snakemake.params.settings, snakemake.params.code
    learning.run(files=files, settings=settings, code=code, **snakemake.output, job=job)
