"""How jobs with a model share the cores of a machine, and what they ask a cluster for."""

import re

import pytest


def said_of(study, rule, *words):
    """What Snakemake would say of the first job of a rule."""
    result = study.snakemake("--dry-run", *words)
    assert result.returncode == 0, result.stderr
    return re.search(rf"^rule {rule}:\n((?:    .*\n)+)", result.stdout + result.stderr, re.MULTILINE)[1]


@pytest.mark.parametrize(("gpus", "threads"), [(1, 8), (4, 2), (16, 1)])
def test_jobs_on_several_gpus_share_the_cores(fresh, gpus, threads):
    text = said_of(fresh, "features", "--cores", "8", "--resources", f"gpu={gpus}")
    found = re.search(r"threads: (\d+)", text)  # Snakemake does not mention a single one
    assert int(found[1] if found else 1) == threads


def test_a_block_asks_for_a_gpu_and_for_memory_by_the_weights(finished):
    text = said_of(finished, "evaluation_block", "--forceall", "results/evaluation/tiny/animals.parquet")
    weights = sum(file.stat().st_size for file in finished.folder.glob("resources/models/tiny/*.safetensors"))
    assert f"mem_mb={4000 + 2 * weights // 1_000_000}" in text
    assert "runtime=60" in text
    assert "gpu=1" in text
