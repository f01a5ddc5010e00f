"""Adapter of rule power_table."""

from iclscope.report import power
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    pools, given = list(snakemake.input.pools), snakemake.params
    power.run(settings=given.settings, pilots=given.pilots, pools=pools, **snakemake.output, job=job)
