"""Configurations that differ from the default study's, and the mistakes in them."""

import copy
from functools import reduce
from pathlib import Path

import pytest
import yaml

from iclscope.runtime.configuration import checks
from iclscope.runtime.errors import StudyError

ROOT = Path(__file__).parents[2]

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))

GONE = object()

SHA = "0" * 64

WHEEL_MODEL = {"source": "wheel", "package": "p", "version": "1.0", "sha256": SHA, "file": "m.gguf", "dtype": "float32"}

PART = {"package": "p2", "version": "1.0", "sha256": SHA, "file": "m.gguf.part01"}

FILES_MODEL = {"source": "files", "path": "models/own", "dtype": "float32"}

SAE_FILES = {
    "source": "files", "path": "saes/own", "model": "smollm2-135m", "site": "resid", "layer": 3, "tokens": 99,
    "texts": "study",
}  # fmt: skip

SAE_HUB = {
    "source": "hub", "repo": "google/gemma-scope-2-270m-pt", "folder": "resid_post/layer_12_width_16k_l0_medium",
    "revision": "main", "format": "gemma_3", "model": "smollm2-135m", "site": "resid", "layer": 12, "tokens": 99,
    "texts": "study",
}  # fmt: skip

HUB_DATA = {"task": "gsm8k", "source": "hub", "candidates": 9, "items": 40}

FILES_DATA = {"task": "boolq", "source": "files", "files": {"train": "a.jsonl"}, "candidates": 9, "items": 40}


def changed(edits):
    """The default configuration with values put at, or taken from, the keys of these paths."""
    config = copy.deepcopy(DEFAULT)
    for path, value in edits.items():
        *sections, key = path.split("/")
        section = reduce(lambda mapping, name: mapping[name], sections, config)
        if value is GONE:
            del section[key]
        else:
            section[key] = value
    return config


def mistakes(edits):
    """The sentences about a configuration with these changes."""
    with pytest.raises(StudyError, match=r"^the configuration cannot be used:\n") as error:
        checks.check(changed(edits), SCHEMA)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


ITEMS = [f"datasets/{name}/items" for name in ("boolq", "commonsenseqa", "asdiv", "medmcqa_subject")]
