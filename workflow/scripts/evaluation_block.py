"""Adapter of rule evaluation_block."""

from pathlib import Path

from iclscope.matrix import blocks, evaluation, progress
from iclscope.runtime import logs, task_files
from iclscope.runtime.jobs import job

with job(snakemake) as provenance:
    candidates, items = blocks.parse(snakemake.wildcards.block)
    evaluation.run_block(
        pool=snakemake.input.pool,
        model_folder=Path(snakemake.input.model).parent,
        candidates=candidates,
        items=items,
        settings=snakemake.params.settings,
        task_folder=task_files.folder(snakemake.params.settings["task"]),
        dataset=snakemake.wildcards.dataset,
        dtype=snakemake.params.dtype,
        device=snakemake.config["device"],
        batch_tokens=snakemake.config["evaluation"]["batch_tokens"],
        output=snakemake.output[0],
        provenance=provenance,
    )
    logs.tell(progress.tokens(snakemake.config, Path(snakemake.output[0]).parents[3]))
