"""Adapter of rule prepare_model."""

from functools import partial

from iclscope.activations import proofs
from iclscope.runtime import jobs
from iclscope.sources import prepare_model

with jobs.job(snakemake):
    check = jobs.only_refuses(partial(proofs.check_readable, **jobs.reading(snakemake)))
    made = {"settings": snakemake.params.settings, "model_out": jobs.folder_of(snakemake.output.model_out)}
    prepare_model.run(name=snakemake.wildcards.model, **jobs.present(snakemake, "wheel", "parts"), check=check, **made)
