"""The study on a real Slurm of one node: the same tables as locally, also when the controller dies in between."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study import ROOT, TIMEOUT, Study, build_study

SCRIPTS = ROOT.parent / "shared/slurm"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
TABLES = ("correlation", "headline", "selection", "quality", "reliability", "metrics", "features", "samples")
TARGETS = [f"results/{stage}/tiny/animals.parquet" for stage in ("correlation", "selection")]
BLOCK = "results/evaluation/tiny/animals/blocks/c00000-00004_i00000-00008.parquet"
UNTIL_SAVED = 8  # seconds; a controller writes what has changed after at most 5
ASKED_IN_VAIN = "Falling back to 'sacct'"  # which has nothing to say either
HELD = "results/quality/tiny/sums.parquet"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Environment of a running Slurm with one node and one pretended GPU."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge")
    if not SCRIPTS.is_dir() or os.geteuid() != 0:
        pytest.skip(f"starting a Slurm takes {SCRIPTS} and root")
    pytest.importorskip("snakemake_executor_plugin_slurm")
    folder = tmp_path_factory.mktemp("slurm")
    configuration = folder / "slurm.conf"
    environment = {**os.environ, "SLURM_CONF": str(configuration), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}:/usr/sbin"
    (folder / "bin").mkdir()
    step = folder / "bin/srun"  # the executor drops SLURM_CONF inside a job
    step.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    step.chmod(0o755)
    try:
        subprocess.run(["bash", SCRIPTS / "start.sh", folder], env=environment, check=True, timeout=60)
        yield environment
    finally:
        subprocess.run(["bash", SCRIPTS / "stop.sh", folder], env=environment, check=False, timeout=60)


def wait_until(happened, seconds=TIMEOUT):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def jobs_of(environment):
    """Numbers of the jobs that wait or run."""
    command = ["squeue", "--noheader", "--format", "%i"]
    return set(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split())


def restart_controller(environment, run, log):
    """Kill slurmctld as a crash would once it has saved its state, and start it again when `run` has asked in vain."""
    run.send_signal(signal.SIGSTOP)  # a job submitted after the state was saved would be forgotten
    known, since = jobs_of(environment), time.monotonic()
    while time.monotonic() - since < UNTIL_SAVED:
        time.sleep(0.5)
        if (now := jobs_of(environment)) != known:
            known, since = now, time.monotonic()
    os.kill(int(Path(environment["SLURM_CONF"]).with_name("slurmctld.pid").read_text()), signal.SIGKILL)
    run.send_signal(signal.SIGCONT)
    wait_until(lambda: ASKED_IN_VAIN in log.read_text())
    subprocess.run(["slurmctld"], env=environment, check=True, timeout=60)


def start(study: Study, environment, *targets):
    """Begin a run by Slurm; returns its process and the file that Snakemake writes to."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm"]
    command += ["--max-threads", "1"]  # as locally: sums of floating-point numbers depend on the number of threads
    command += ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10", *targets]
    environment = {**environment, "PYTHONPATH": str(study.folder / "workflow/scripts")}
    log = study.folder / "main.log"
    with log.open("w") as output:
        run = subprocess.Popen(command, cwd=study.folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    return run, log


@pytest.fixture(scope="module")
def by_slurm(slurm, tmp_path_factory):
    """The tiny study run by Slurm, whose controller is killed while a block is computed; and what Snakemake said."""
    study = build_study(tmp_path_factory.mktemp("by_slurm"))
    study.hold(BLOCK)
    run, log = start(study, slurm, *TARGETS)
    wait_until(lambda: study.held or run.poll() is not None)
    assert run.poll() is None, log.read_text()
    restart_controller(slurm, run, log)
    study.let_go()
    run.wait(timeout=TIMEOUT)
    return study, run.returncode, log.read_text()


def test_nothing_is_lost_when_the_controller_is_killed(by_slurm):
    _, status, said = by_slurm
    assert status == 0, said[-5000:]
    jobs = int(re.search(r"^total +(\d+)$", said, re.MULTILINE)[1])
    assert len(re.findall(r"^Finished jobid", said, re.MULTILINE)) == jobs
    assert "Trying to restart" not in said


def test_tables_are_those_of_a_local_run(by_slurm, finished: Study):
    study, _, _ = by_slurm
    for stage in TABLES:
        local, cluster = (one.contents(f"results/{stage}/**/animals*/**/*.parquet") for one in (finished, study))
        local |= finished.contents(f"results/{stage}/tiny/animals.parquet")
        cluster |= study.contents(f"results/{stage}/tiny/animals.parquet")
        assert cluster
        assert [file for file in cluster if cluster[file] != local[file]] == []


def test_every_job_with_a_model_asks_for_a_gpu_and_memory(by_slurm):
    _, _, said = by_slurm
    jobs = re.findall(r"^rule (\w+):\n((?:    .*\n)+)", said, re.MULTILINE)
    with_model = {name for name, text in jobs if "gpu=1" in text}
    assert with_model == {"activations", "features", "evaluation_block"}
    assert all(int(re.search(r"mem_mb=(\d+)", text)[1]) >= 500 for _, text in jobs)


def test_a_job_that_outlives_a_killed_run_cannot_overwrite(slurm, study: Study):
    table = study.folder / HELD
    whole = table.read_bytes()
    table.unlink()
    study.hold(HELD)
    run, log = start(study, slurm, HELD)
    wait_until(lambda: study.held or run.poll() is not None)
    assert run.poll() is None, log.read_text()
    run.kill()
    run.wait()
    study.run(HELD)
    later = table.stat()
    study.let_go()
    wait_until(lambda: not jobs_of(slurm))
    assert table.stat() == later
    assert table.read_bytes() == whole
    assert list(table.parent.glob(".*.part")) == []


def test_sweep_cancels_the_jobs_of_this_folder_alone(slurm, tmp_path):
    guide = (ROOT / "docs/how-to/cluster.md").read_text(encoding="utf-8")
    (sweep,) = re.findall(r"^squeue --me .* scancel$", guide, re.MULTILINE)
    folders = [tmp_path / "a study", tmp_path / "a study of another"]
    jobs = []
    for folder, name in ((folders[0], "iclscope_1"), (folders[1], "iclscope_2"), (folders[0], "other")):
        folder.mkdir(exist_ok=True)
        submit = [
            "sbatch",
            "--parsable",
            "--job-name",
            name,
            "--output",
            "/dev/null",
            "--mem",
            "10",
            "--wrap",
            "sleep 60",
        ]
        submitted = subprocess.run(submit, cwd=folder, env=slurm, capture_output=True, text=True, check=True)
        jobs.append(submitted.stdout.strip())

    assert jobs_of(slurm) >= set(jobs)
    subprocess.run(["bash", "-c", sweep], cwd=folders[0], env=slurm, check=True, timeout=60)
    wait_until(lambda: jobs[0] not in jobs_of(slurm), 60)
    assert jobs_of(slurm) >= set(jobs[1:])
    subprocess.run(["scancel", *jobs], env=slurm, check=True)
