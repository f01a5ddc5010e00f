"""Adapter of rules run_record and run_record_of_dataset."""

from iclscope.runtime import jobs, record

with jobs.job(snakemake):
    settings, device = snakemake.params.settings, snakemake.config["device"]
    prepared = {part: jobs.by_name(settings[part], snakemake.input[part]) for part in ("models", "datasets")}
    evaluations = snakemake.input.evaluations
    record.run(settings=settings, **prepared, evaluations=evaluations, device=device, **snakemake.output)
