"""Adapter of rule fetch_wheel."""

from pathlib import Path

from iclscope.runtime.jobs import job
from iclscope.sources.wheels import fetch_wheel

with job(snakemake):
    fetch_wheel(**snakemake.params.settings, destination=Path(snakemake.output[0]))
