"""Adapter of rule sae_screen."""

from iclscope.runtime import jobs
from iclscope.signals import sae_screen

with jobs.job(snakemake) as job:
    files = sae_screen.Files(**snakemake.input)
    sae_screen.run(files=files, settings=snakemake.params.settings, **snakemake.output, job=job)
