"""One run at a time, and jobs of a run that is over write nothing."""

import subprocess
import sys

import pytest

from iclscope import runs
from iclscope.errors import StudyError
from iclscope.files import atomic_file, atomic_folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(runs.RUN, "to be restored")
    monkeypatch.delenv(runs.RUN)
    return tmp_path


def test_a_second_run_is_refused_as_long_as_the_first_goes_on(folder):
    first = runs.begin()
    for _ in range(2):  # a refused run takes nothing away
        with pytest.raises(StudyError, match=r"another run \(process \d+ on .* since .*\) is at work in .*--directory"):
            runs.begin()
    runs.check_current()
    first.close()
    runs.begin().close()


def test_a_lock_ends_with_its_process_even_if_that_is_killed(folder):
    code = "import os; from iclscope import runs; lock = runs.begin(); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)})
    assert killed.returncode == -9
    runs.begin().close()


def test_what_a_run_starts_does_not_hold_its_lock(folder):
    lock = runs.begin()
    with subprocess.Popen(["sleep", "60"]) as job:
        lock.close()
        runs.begin().close()
        job.kill()


def orphan(monkeypatch):
    """Become a job of a run that is over while a later one has begun."""
    runs.begin().close()
    own = runs.os.environ[runs.RUN]
    later = runs.begin()
    monkeypatch.setenv(runs.RUN, own)
    return later


@pytest.mark.parametrize("kind", [atomic_file, atomic_folder])
def test_a_job_that_outlived_its_run_cannot_overwrite(folder, monkeypatch, kind):
    lock = orphan(monkeypatch)
    path = folder / "result"
    path.write_text("of the later run")
    with pytest.raises(StudyError, match=r"run of this job .* is over and another .* has begun"), kind(path):
        pass
    assert path.read_text() == "of the later run"
    assert {p.name for p in folder.iterdir()} == {"result", ".snakemake"}
    lock.close()


def test_a_job_whose_working_folder_was_cleaned_writes_nothing(folder):
    runs.begin().close()
    runs.LOCK.unlink()
    with pytest.raises(StudyError, match=r"another \(none\)"):
        runs.check_current()


def test_a_function_called_outside_a_run_is_free_to_write(folder):
    runs.check_current()
