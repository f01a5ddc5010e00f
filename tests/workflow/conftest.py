"""A tiny study that is run once per session and copied for each test."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study import Study, build_study


@pytest.fixture(scope="session")
def finished(made_once: Callable[[str, Callable[[Path], Any]], Path]) -> Study:
    """The tiny study, run to its end. Read it; do not change it."""
    return Study(made_once("finished", lambda folder: build_study(folder).run()))


@pytest.fixture
def study(finished: Study, tmp_path: Path) -> Study:
    """A finished study to be changed: a copy with the same times."""
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Study(folder)


@pytest.fixture
def prepared(study: Study) -> Study:
    """A study whose model and data are prepared, and nothing else."""
    shutil.rmtree(study.folder / "results")
    return study


@pytest.fixture
def fresh(made_once: Callable[[str, Callable[[Path], Any]], Path], tmp_path: Path) -> Study:
    """A tiny study that has not run."""
    folder = tmp_path / "study"
    shutil.copytree(made_once("fresh", build_study), folder)
    return Study(folder)
