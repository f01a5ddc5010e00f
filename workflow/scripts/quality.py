"""Adapter of rule quality."""

from iclscope.matrix import quality
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    files = quality.Files(**snakemake.input)
    quality.run(files=files, settings=snakemake.params.settings, **snakemake.output, job=job)
