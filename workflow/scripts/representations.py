"""Adapter of rule representations."""

from iclscope.activations import representations
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    inputs = {name: snakemake.input[name] for name in ("candidates", "item_rows")}
    files = representations.Files(**inputs, **jobs.present(snakemake, "pool"))
    model, batch_tokens = jobs.prepared_model(snakemake), snakemake.config["activations"]["batch_tokens"]
    settings = {**snakemake.params.settings, "batch_tokens": batch_tokens}
    representations.run(files=files, model=model, settings=settings, **snakemake.output, job=job)
