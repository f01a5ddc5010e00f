"""Adapter of rule picks."""

from iclscope.runtime import jobs
from iclscope.selection import picks

with jobs.job(snakemake) as job:
    inputs = {name: snakemake.input[name] for name in ("evaluation", "candidates", "item_rows", "shots", "model")}
    files, task = picks.Files(**inputs), jobs.task(snakemake)
    picks.run(files=files, task=task, settings=snakemake.params.settings, **snakemake.output, job=job)
