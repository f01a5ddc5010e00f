"""Rows and pools that tests of several files share. Fixtures."""

import pytest

from iclscope.tasks import harness
from iclscope.tasks.rows import write_rows
from pools import OWN, rows


@pytest.fixture(scope="module")
def task():
    return harness.load_task("boolq", OWN, {"train": rows(2)}, "datasets.d")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_rows(folder / "train.jsonl", rows(40))
    write_rows(folder / "validation.jsonl", rows(30, start=100))
    return folder
