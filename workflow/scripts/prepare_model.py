"""Adapter of rule prepare_model."""

from functools import partial

from iclscope.activations import proofs
from iclscope.runtime import jobs
from iclscope.sources import prepare_model

with jobs.job(snakemake):
    name, wheels = snakemake.wildcards.model, {key: snakemake.input.get(key) for key in ("wheel", "parts")}
    check = partial(proofs.check_readable, **jobs.reading(snakemake))
    settings, model_out = snakemake.params.settings, jobs.folder_of(snakemake.output.model_out)
    prepare_model.run(name=name, settings=settings, **wheels, check=check, model_out=model_out)
