"""Adapter of rule evaluation_block."""

from iclscope.matrix import blocks, evaluation, progress
from iclscope.runtime import jobs, logs

with jobs.job(snakemake) as job:
    inputs = {**snakemake.input, "model": jobs.prepared_model(snakemake), "task": jobs.task(snakemake)}
    block, settings = blocks.parse(snakemake.wildcards.block), jobs.section(snakemake, "evaluation")
    evaluation.run_block(**inputs, block=block, settings=settings, **snakemake.output, job=job)
    logs.tell(progress.tokens(snakemake.config, snakemake.output.block_out))
