"""Adapter of rule shots."""

from iclscope.runtime import jobs
from iclscope.selection import shots

with jobs.job(snakemake) as job:
    inputs = {name: snakemake.input[name] for name in ("evaluation", "candidates", "item_rows")}
    files, model = shots.Files(**inputs), jobs.prepared_model(snakemake)
    settings = {**snakemake.params.settings, "batch_tokens": snakemake.config["evaluation"]["batch_tokens"]}
    shots.run(files=files, model=model, settings=settings, **snakemake.output, job=job)
