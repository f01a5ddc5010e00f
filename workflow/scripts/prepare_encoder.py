"""Adapter of rule prepare_encoder."""

from iclscope.runtime import jobs
from iclscope.sources import prepare_model

with jobs.job(snakemake):
    encoder_out = jobs.folder_of(snakemake.output.encoder_out)
    prepare_model.prepare_encoder(settings=snakemake.params.settings, **snakemake.input, encoder_out=encoder_out)
