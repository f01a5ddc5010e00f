"""Results that were damaged or emptied after they were made: found, named, and made again alone."""

import os

from iclscope.report import manifest

MATRIX = "results/evaluation/tiny/sums.parquet"
BLOCK = "results/evaluation/tiny/sums/blocks/c00000-00004_i00000-00008.parquet"


def overwrite(path, content):
    """Change a file's content behind the back of whoever looks at times."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_of_damaged_blocks_only_the_damaged_one_is_made_again(study):
    block, matrix = study.folder / BLOCK, study.folder / MATRIX
    whole, content = matrix.read_bytes(), block.read_bytes()
    overwrite(block, content[:500] + bytes([content[500] ^ 4]) + content[501:])
    matrix.unlink()
    result = study.snakemake(MATRIX)
    assert result.returncode != 0
    assert f"{BLOCK} is damaged" in result.stdout + result.stderr
    assert not matrix.exists()
    block.unlink()
    assert study.planned(MATRIX) == {"evaluation_block": 1, "evaluation": 1}
    study.run(MATRIX)
    assert matrix.read_bytes() == whole
    assert block.read_bytes() == content


def test_what_was_emptied_behind_the_workflows_back_is_found_and_made_again_alone(study):
    results, name = study.folder / "results", "metrics/tiny/animals/causal.parquet"
    assert manifest.differences(results) == {}
    overwrite(results / name, b"")
    assert study.planned() == {}  # it looks at times, which did not change
    assert manifest.differences(results) == {name: "empty"}
    (results / name).unlink()
    assert study.planned(f"results/{name}") == {"metrics": 1}
    study.run(f"results/{name}")
    assert manifest.differences(results) == {}
    assert study.planned() == {}
