"""One run at a time, and jobs of a run that is over write nothing."""

import subprocess
import sys

import pytest

from iclscope.runtime import lock
from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import atomic_file, atomic_folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(lock.RUN, "to be restored")
    monkeypatch.delenv(lock.RUN)
    return tmp_path


def test_a_second_run_is_refused_as_long_as_the_first_goes_on(folder):
    first = lock.begin()
    for _ in range(2):  # a refused run takes nothing away
        with pytest.raises(StudyError, match=r"another run \(process \d+ on .* since .*\) is at work in .*--directory"):
            lock.begin()
    lock.check_current()
    first.close()
    lock.begin().close()


def test_a_lock_ends_with_its_process_even_if_that_is_killed(folder):
    code = "import os; from iclscope.runtime import lock; held = lock.begin(); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)})
    assert killed.returncode == -9
    lock.begin().close()


def test_what_a_run_starts_does_not_hold_its_lock(folder):
    held = lock.begin()
    with subprocess.Popen(["sleep", "60"]) as job:
        held.close()
        lock.begin().close()
        job.kill()


def orphan(monkeypatch):
    """Become a job of a run that is over while a later one has begun."""
    lock.begin().close()
    own = lock.os.environ[lock.RUN]
    later = lock.begin()
    monkeypatch.setenv(lock.RUN, own)
    return later


@pytest.mark.parametrize("kind", [atomic_file, atomic_folder])
def test_a_job_that_outlived_its_run_cannot_overwrite(folder, monkeypatch, kind):
    held = orphan(monkeypatch)
    path = folder / "result"
    path.write_text("of the later run")
    with pytest.raises(StudyError, match=r"run of this job .* is over and another .* has begun"), kind(path):
        pass
    assert path.read_text() == "of the later run"
    assert {p.name for p in folder.iterdir()} == {"result", ".snakemake"}
    held.close()


def test_a_job_whose_working_folder_was_cleaned_writes_nothing(folder):
    lock.begin().close()
    lock.LOCK.unlink()
    with pytest.raises(StudyError, match=r"another \(none\)"):
        lock.check_current()


def test_a_function_called_outside_a_run_is_free_to_write(folder):
    lock.check_current()
