"""How jobs with a model share the cores of a machine, and what they ask a cluster for."""

import re

import pytest

from iclscope.runtime.devices import memory_mb


def said_of(study, rule, *words):
    """What Snakemake would say of the first job of a rule."""
    result = study.snakemake("--dry-run", *words)
    assert result.returncode == 0, result.stderr
    return re.search(rf"^rule {rule}:\n((?:    .*\n)+)", result.stdout + result.stderr, re.MULTILINE)[1]


def threads_of(study, *words):
    """Cores that Snakemake gives a job with a model."""
    found = re.search(r"threads: (\d+)", said_of(study, "features", *words))  # it does not mention a single one
    return int(found[1] if found else 1)


@pytest.mark.parametrize(("gpus", "threads"), [(1, 8), (4, 2), (16, 1)])
def test_jobs_on_several_gpus_share_the_cores(fresh, gpus, threads):
    fresh.configure(lambda config: config.update(device="cuda"))
    assert threads_of(fresh, "--cores", "8", "--resources", f"gpu={gpus}") == threads


@pytest.mark.parametrize(("gpus", "threads"), [(1, 4), (4, 2)])
def test_two_jobs_share_a_cpu_without_asking_for_a_gpu(fresh, gpus, threads):
    fresh.configure(lambda config: config.update(device="cpu"))
    words = ("--cores", "8", "--resources", f"gpu={gpus}")
    assert threads_of(fresh, *words) == threads
    assert "gpu=0" in said_of(fresh, "features", *words)


def test_a_job_has_the_cpu_to_itself_where_memory_does_not_hold_two_models(fresh):
    fresh.configure(lambda config: config.update(device="cpu"))
    weights = fresh.folder / "resources/models/tiny/model.safetensors"
    weights.parent.mkdir(parents=True)
    with weights.open("wb") as file:
        file.truncate(memory_mb() * 10**6)  # a hole on the disk
    assert threads_of(fresh, "--cores", "8") == 8


def test_a_block_asks_for_a_gpu_and_for_memory_by_the_weights(finished):
    words = ("--config", "device=cuda", "--forceall", "results/evaluation/tiny/animals.parquet")
    text = said_of(finished, "evaluation_block", *words)
    weights = sum(file.stat().st_size for file in finished.folder.glob("resources/models/tiny/*.safetensors"))
    assert f"mem_mb={4000 + 2 * weights // 1_000_000}" in text
    assert "runtime=60" in text
    assert "gpu=1" in text
