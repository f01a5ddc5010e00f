"""Adapter of rule sae_features."""

from iclscope.runtime import jobs
from iclscope.saes import codes

with jobs.job(snakemake) as job:
    files = codes.Files(**jobs.present(snakemake, "candidates", "item_rows", "dictionary"))
    model, settings = jobs.prepared_model(snakemake), snakemake.params.settings
    sae_features_out = jobs.by_stem(snakemake.output.sae_features_out)
    codes.run(files=files, model=model, settings=settings, sae_features_out=sae_features_out, job=job)
