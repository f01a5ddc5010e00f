"""The record of a run: what was asked for, of which models and data, with which software, where and when."""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import iclscope
from iclscope.runtime import devices, provenance
from iclscope.runtime.files import write_text
from iclscope.runtime.parquet import read_provenance


def run(
    *,
    settings: Mapping[str, Any],
    models: Mapping[str, str | Path],
    datasets: Mapping[str, str | Path],
    evaluations: Sequence[str | Path],
    device: str,
    run_record_out: str | Path,
) -> None:
    """Write the run record as JSON.

    settings: the configuration that concerns the run; models, datasets: name → the source.json of what was prepared,
    with resolved commits and checksums; evaluations: score matrices `{model}/{dataset}.parquet` of a serving engine,
    which they name; device: as in the configuration.
    """
    prepared = {f"models.{name}": path for name, path in models.items()}
    prepared |= {f"datasets.{name}": path for name, path in datasets.items()}
    engines = {str(Path(*Path(path).parts[-2:]).with_suffix("")): _engine(path) for path in evaluations}
    record = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "iclscope": iclscope.__version__,
        "git_commit": provenance.git_commit(),
        "config_digest": provenance.digest(settings),
        "config": settings,
        "sources": {key: json.loads(Path(path).read_text(encoding="utf-8")) for key, path in prepared.items()},
        "device": "cpu" if devices.is_cpu(device) else str(devices.pick(device)),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "versions": provenance.versions(),
        **({"engines": engines} if engines else {}),
    }
    write_text(run_record_out, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _engine(evaluation: str | Path) -> str:
    """Name and version of the engine that a score matrix comes from."""
    return " ".join(read_provenance(evaluation)["engine"].values())
