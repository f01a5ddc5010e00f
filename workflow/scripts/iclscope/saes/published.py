"""A sparse autoencoder from elsewhere, brought into the form that the study reads: a folder in SAELens's format."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iclscope.runtime.configuration.registries import SAE_FORMATS
from iclscope.runtime.files import sha256, write_text
from iclscope.saes import formats
from iclscope.saes.dictionary import CONFIG, WEIGHTS
from iclscope.sources import hub


def run(*, name: str, settings: Mapping[str, Any], sae_out: str | Path) -> None:
    """Write the SAE of an entry of `saes`, from a folder here or on the hub, beside `sae_out`, which says whence it is.

    Refuses what cannot be read, before any model is loaded.
    """
    key, form, target = f"saes.{name}", settings["format"], Path(sae_out).parent
    if settings["source"] == "hub":
        folder, commit = hub.download_folder(
            settings["repo"], settings["folder"], SAE_FORMATS[form], settings["revision"], key
        )
        origin, at = {"repo": settings["repo"], "folder": settings["folder"], "commit": commit}, "folder"
    else:
        folder, origin, at = Path(settings["path"]), {"path": settings["path"]}, "path"
    dictionary, metadata = formats.read(folder, form, f"{key}.{at}")
    dictionary.save(target / CONFIG, target / WEIGHTS, metadata)
    record = {
        "source": settings["source"],
        **origin,
        "format": form,
        "sha256": {file: sha256(folder / file) for file in SAE_FORMATS[form]},
    }
    write_text(sae_out, json.dumps(record, indent=2, sort_keys=True) + "\n")
