"""Adapter of rule evaluation."""

from iclscope.matrix import gather, stopping
from iclscope.runtime.jobs import job

with job(snakemake) as provenance:
    inputs, params = snakemake.input, snakemake.params
    if "reliability" in params.settings:
        whole = stopping.read_needed(inputs.blocks)
    else:
        whole = {"blocks": inputs.blocks, **params.settings}
    sources = [inputs.pool, inputs.model, *inputs.task]
    gather.gather(
        **whole,
        origin={
            "inputs": {path: provenance["inputs"][path] for path in sources},
            "settings": params.block_settings,
            "dtype": params.dtype,
        },
        output=snakemake.output[0],
        provenance=provenance,
    )
