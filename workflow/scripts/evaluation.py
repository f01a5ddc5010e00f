"""Adapter of rule evaluation."""

from iclscope.matrix import gather
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    inputs, params = snakemake.input, snakemake.params
    origin = gather.Origin(inputs.pool, inputs.model, inputs.task, params.block_settings, params.dtype)
    calibrating = jobs.present(snakemake, "features")
    gather.run(
        blocks=inputs.blocks, origin=origin, **calibrating, settings=params.settings, **snakemake.output, job=job
    )
