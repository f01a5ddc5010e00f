"""A tiny study that is run once per session and copied for each test."""

import shutil
from pathlib import Path

import pytest

from study import Study, build_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny study, run to its end. Read it; do not change it."""
    study = build_study(tmp_path_factory.mktemp("study"))
    study.run()
    return study


@pytest.fixture
def study(finished: Study, tmp_path: Path) -> Study:
    """A finished study to be changed: a copy with the same times."""
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Study(folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Study:
    """A tiny study that has not run."""
    return build_study(tmp_path / "study")
