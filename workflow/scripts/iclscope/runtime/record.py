"""The record of a run: what was asked for, of which models and data, with which software, where and when."""

import datetime
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import iclscope
from iclscope.runtime import devices, provenance
from iclscope.runtime.files import write_text


def run(*, settings: Mapping[str, Any], sources: Mapping[str, str | Path], device: str, output: str | Path) -> None:
    """Write the run record as JSON.

    settings: the configuration that concerns the run; sources: config key (`models.x`, `datasets.y`) → the source.json
    of what was prepared for it, with resolved commits and checksums; device: as in the configuration.
    """
    record = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "iclscope": iclscope.__version__,
        "git_commit": provenance.git_commit(),
        "config_digest": provenance.digest(settings),
        "config": settings,
        "sources": {key: json.loads(Path(path).read_text(encoding="utf-8")) for key, path in sources.items()},
        "device": str(devices.pick(device)),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "versions": provenance.versions(),
    }
    write_text(output, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
