"""Adapter of rule train_sae."""

from iclscope.runtime import jobs
from iclscope.saes import learning

with jobs.job(snakemake) as job:
    files = learning.Files(**jobs.present(snakemake, "pools", "item_rows", "dictionary"))
    model, settings = jobs.prepared_model(snakemake), snakemake.params.settings
    learning.run(files=files, model=model, settings=settings, **snakemake.output, job=job)
