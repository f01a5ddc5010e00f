"""A sparse autoencoder from elsewhere, brought into the form that the study reads: a folder in SAELens's format."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iclscope.runtime.files import sha256, write_text
from iclscope.saes.dictionary import CONFIG, WEIGHTS, load


def run(*, name: str, settings: Mapping[str, Any], sae_out: str | Path) -> None:
    """Write the SAE in the folder that `path` of an entry of `saes` names beside `sae_out`, which says whence it is.

    Refuses what cannot be read, before any model is loaded.
    """
    key, folder, target = f"saes.{name}", Path(settings["path"]), Path(sae_out).parent
    dictionary = load(folder, f"{key}.path")
    metadata = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("metadata", {})
    dictionary.save(target / CONFIG, target / WEIGHTS, metadata)
    record = {
        "source": settings["source"],
        "path": str(folder),
        "sha256": {file: sha256(folder / file) for file in (CONFIG, WEIGHTS)},
    }
    write_text(sae_out, json.dumps(record, indent=2, sort_keys=True) + "\n")
