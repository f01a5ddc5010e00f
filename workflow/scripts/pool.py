"""Adapter of rule pool."""

from pathlib import Path

from iclscope import pool
from iclscope.jobs import job

with job(snakemake) as provenance:
    counting_model = snakemake.input.get("tokenizer")
    pool.run_pool(
        data=Path(snakemake.input.data).parent,
        dataset=snakemake.wildcards.dataset,
        settings=snakemake.params.settings,
        task_folder=Path(snakemake.scriptdir, "../../config/tasks"),
        tokenizer_folder=Path(counting_model).parent if counting_model else None,
        seed=snakemake.params.seed,
        output=snakemake.output[0],
        provenance=provenance,
    )
