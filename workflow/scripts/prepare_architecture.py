"""Adapter of rule prepare_architecture."""

from iclscope.runtime import jobs
from iclscope.sources import prepare_model

with jobs.job(snakemake):
    name, settings = snakemake.wildcards.model, snakemake.params.settings
    architecture_out = jobs.folder_of(snakemake.output.architecture_out)
    prepare_model.prepare_architecture(name=name, settings=settings, architecture_out=architecture_out)
