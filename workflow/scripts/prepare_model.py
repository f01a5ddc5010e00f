"""Adapter of rule prepare_model."""

from iclscope.runtime import jobs
from iclscope.sources import prepare_model

with jobs.job(snakemake):
    name, settings = snakemake.wildcards.model, snakemake.params.settings
    wheel, model_out = snakemake.input.get("wheel"), jobs.folder_of(snakemake.output.model_out)
    prepare_model.run(name=name, settings=settings, wheel=wheel, model_out=model_out)
