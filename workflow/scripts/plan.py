"""Adapter of rule estimate."""

from pathlib import Path

from iclscope.plan import estimate
from iclscope.runtime import task_files
from iclscope.runtime.jobs import job

with job(snakemake) as provenance:
    config = snakemake.params.settings
    estimate.run(
        config=config,
        pools=dict(zip(config["datasets"], snakemake.input.pools, strict=True)),
        folders={
            model: Path(file).parent for model, file in zip(config["models"], snakemake.input.models, strict=True)
        },
        task_folders={name: task_files.folder(entry["task"]) for name, entry in config["datasets"].items()},
        table=snakemake.output.table,
        text=snakemake.output.text,
        provenance=provenance,
    )
