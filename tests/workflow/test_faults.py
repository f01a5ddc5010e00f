"""Runs and jobs that are killed, stopped, doubled or out of space: nothing is lost, half made or overwritten."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from study import Study

TARGET = "results/quality/tiny/sums.parquet"


def until(condition, seconds=120):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def alive(process):
    """Whether a process is at work."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@dataclass
class Paused:
    """A finished study of which one table was lost, and a run whose job is about to put it in its place."""

    study: Study
    run: subprocess.Popen
    job: int
    whole: bytes

    @property
    def table(self):
        return self.study.folder / TARGET

    @property
    def parts(self):
        return list(self.table.parent.glob(".*.part"))

    def rerun(self):
        """Run as a user would; afterwards everything is as in a study that nothing happened to."""
        self.study.run(TARGET)
        assert self.table.read_bytes() == self.whole
        assert self.parts == []
        assert self.study.planned(TARGET) == {}


@pytest.fixture
def paused(study):
    table = study.folder / TARGET
    whole = table.read_bytes()
    table.unlink()
    study.hold(TARGET)
    run = study.start(TARGET)
    until(lambda: study.held or run.poll() is not None)
    assert run.poll() is None, run.communicate()
    state = Paused(study, run, study.held, whole)
    assert len(state.parts) == 1
    yield state
    state.study.let_go()
    run.communicate(timeout=60)
    until(lambda: not alive(state.job))


def test_a_job_killed_while_it_writes_leaves_no_file(paused):
    os.kill(paused.job, signal.SIGKILL)
    assert paused.run.wait(60) != 0
    assert not paused.table.exists()
    paused.rerun()


def test_a_job_that_outlives_a_killed_run_cannot_overwrite(paused):
    paused.run.kill()
    paused.run.wait()
    assert alive(paused.job)
    assert not paused.table.exists()
    paused.rerun()
    later = paused.table.stat()
    paused.study.let_go()
    until(lambda: not alive(paused.job))
    assert paused.table.stat() == later
    assert paused.parts == []
    assert "has begun" not in (paused.study.folder / "logs/quality/tiny-sums.log").read_text()


def test_what_a_job_finished_after_its_run_was_killed_is_made_anew(paused):
    paused.run.kill()
    paused.run.wait()
    paused.study.let_go()
    until(lambda: not alive(paused.job))
    orphaned = paused.table.stat()
    paused.rerun()
    assert paused.table.stat().st_mtime_ns > orphaned.st_mtime_ns


def test_a_second_run_is_refused_and_takes_nothing_from_the_first(paused):
    for _ in range(2):  # nor does a refused run let the next one in
        second = paused.study.snakemake(TARGET)
        assert second.returncode != 0
        assert f"another run (process {paused.run.pid} on " in second.stdout + second.stderr
    paused.study.let_go()
    assert paused.run.wait(60) == 0
    paused.rerun()


def test_interruption_from_the_terminal_leaves_nothing_half_made(paused):
    os.killpg(paused.run.pid, signal.SIGINT)
    assert paused.run.wait(60) != 0
    until(lambda: not alive(paused.job))
    assert not paused.table.exists()
    assert paused.parts == []
    paused.rerun()


def test_termination_lets_the_jobs_at_work_finish(paused):
    paused.run.terminate()
    time.sleep(1)
    paused.study.let_go()
    paused.run.wait(60)
    paused.rerun()


def test_termination_of_a_job_leaves_nothing_half_made(paused):
    os.kill(paused.job, signal.SIGTERM)
    assert paused.run.wait(60) != 0
    assert not paused.table.exists()
    assert paused.parts == []
    paused.rerun()


@pytest.fixture
def full_disk(study):
    """The folder of a table on a file system of one page."""
    folder = (study.folder / TARGET).parent
    for file in folder.iterdir():
        file.unlink()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(study, full_disk):
    result = study.snakemake(TARGET)
    assert result.returncode != 0
    assert "no space is left for its output" in result.stdout + result.stderr
    assert list(full_disk.iterdir()) == []
