"""Adapter of rules run_record and run_record_of_dataset."""

from iclscope.runtime import record
from iclscope.runtime.jobs import job

with job(snakemake):
    settings = snakemake.params.settings
    keys = [f"{section}.{name}" for section in ("models", "datasets") for name in settings[section]]
    record.run(
        settings=settings,
        sources=dict(zip(keys, snakemake.input, strict=True)),
        device=snakemake.config["device"],
        output=snakemake.output[0],
    )
