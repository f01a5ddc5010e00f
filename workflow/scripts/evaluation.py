"""Adapter of rule evaluation."""

from iclscope.matrix import gather
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    inputs, params = snakemake.input, snakemake.params
    origin = gather.Origin(inputs.pool, inputs.model, inputs.task, params.block_settings, params.dtype)
    gather.run(blocks=inputs.blocks, origin=origin, settings=params.settings, **snakemake.output, job=job)
