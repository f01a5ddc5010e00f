"""Adapter of rule fetch_sae."""

from iclscope.runtime import jobs
from iclscope.saes import published

with jobs.job(snakemake):
    published.run(name=snakemake.wildcards.sae, settings=snakemake.params.settings, **snakemake.output)
