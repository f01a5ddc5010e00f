"""Adapter of rule encode_pool."""

from iclscope.labelling import encodings
from iclscope.runtime import jobs

with jobs.job(snakemake) as job:
    inputs = {name: snakemake.input[name] for name in ("candidates", "item_rows", "pool")}
    settings, device = snakemake.params.settings, snakemake.config["device"]
    encodings.run(**inputs, device=device, settings=settings, **snakemake.output, job=job)
