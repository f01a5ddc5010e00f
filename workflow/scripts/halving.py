"""Adapter of rule halving."""

from iclscope.runtime import jobs
from iclscope.selection import halved

with jobs.job(snakemake) as job:
    files = halved.Files(**{name: snakemake.input[name] for name in ("candidates", "item_rows", "model")})
    model, task, code = jobs.prepared_model(snakemake), jobs.task(snakemake), snakemake.params.code
    settings = {**snakemake.params.settings, "batch_tokens": snakemake.config["evaluation"]["batch_tokens"]}
    outputs = halved.Outputs(**snakemake.output)
    halved.run(files=files, model=model, task=task, settings=settings, code=code, outputs=outputs, job=job)
