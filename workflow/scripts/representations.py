"""Adapter of rules representations and represent_pool."""

from iclscope.activations import representations
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    files = representations.Files(**jobs.present(snakemake, "candidates", "item_rows", "pool"))
    model, batch_tokens = jobs.prepared_model(snakemake), snakemake.config["activations"]["batch_tokens"]
    settings = {**snakemake.params.settings, "batch_tokens": batch_tokens}
    representations.run(files=files, model=model, settings=settings, **snakemake.output, job=job)
