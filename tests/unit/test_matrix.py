"""Gathering the blocks of a score matrix: complete, in order, nothing twice."""

from itertools import product

import polars as pl
import pytest

from iclscope.errors import StudyError
from iclscope.matrix import gather
from iclscope.parquet import read_provenance
from iclscope.tables import EVALUATION, QUALITY


def pairs(candidates, items):
    """A block whose scores tell their candidate and item."""
    rows = [
        {
            "candidate": c,
            "item": i,
            "logprobs": [float(c), float(i)],
            "gold_logprob": float(c),
            "margin": float(c - i),
            "correct": 1.0,
            "correct_norm": 0.0,
            "prompt_tokens": 100 * c + i,
        }
        for c, i in product(candidates, items)
    ]
    return pl.DataFrame(rows, schema=EVALUATION.schema)


@pytest.fixture
def write(tmp_path):
    """Write blocks to a folder and return their paths."""

    def write_blocks(*frames):
        paths = [tmp_path / "blocks" / f"{number}.parquet" for number in range(len(frames))]
        for frame, path in zip(frames, paths, strict=True):
            EVALUATION.write(frame, path, {})
        return paths

    return write_blocks


def gathered(tmp_path, paths, candidates, items):
    output = tmp_path / "matrix.parquet"
    gather(blocks=paths, candidates=candidates, items=items, output=output, provenance={"seed": 5})
    return output


def test_blocks_in_any_order_make_the_sorted_matrix(tmp_path, write):
    paths = write(pairs([2], [3, 4]), pairs([1, -1, 0], [2, 0, 1]), pairs([-1, 0, 1], [4, 3]), pairs([2], [1, 0, 2]))
    output = gathered(tmp_path, paths, candidates=3, items=5)
    assert EVALUATION.read(output).equals(pairs([-1, 0, 1, 2], range(5)))
    assert read_provenance(output)["seed"] == 5


FULL = [-1, 0, 1, 2]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        pytest.param([(FULL, [0])], "4 of 8 pairs", id="an item is missing"),
        pytest.param([(FULL[1:], [0, 1])], "6 of 8 pairs", id="the zero-shot prompt is missing"),
        pytest.param([(FULL, [0]), (FULL[:2], [1])], "6 of 8 pairs", id="half a block is missing"),
        pytest.param([(FULL, [0, 1]), (FULL, [0, 1])], "overlap", id="a block twice"),
        pytest.param([(FULL, [0, 1]), ([2], [1])], "overlap", id="blocks overlap in a pair"),
        pytest.param([([-1, 0, 1], [0, 1]), ([0, 3], [0])], "overlap", id="as many pairs, one twice"),
        pytest.param([([-1, 0, 1, 7], [0, 1])], "6 of 8 pairs and 2 others", id="as many pairs, another candidate"),
        pytest.param([(FULL, [0, 9])], "4 of 8 pairs and 4 others", id="as many pairs, another item"),
        pytest.param([([*FULL, 3], [0, 1])], "8 of 8 pairs and 2 others", id="a candidate too many"),
    ],
)
def test_refuses_blocks_that_are_not_the_matrix(tmp_path, write, blocks, message):
    paths = write(*(pairs(*block) for block in blocks))
    with pytest.raises(StudyError, match=message) as error:
        gathered(tmp_path, paths, candidates=3, items=2)
    assert str(paths[0].parent) in str(error.value)
    assert "delete" in str(error.value)
    assert not (tmp_path / "matrix.parquet").exists()


def test_names_the_block_that_is_damaged_or_of_another_kind(tmp_path, write):
    paths = write(pairs([-1, 0], [0]), pairs([1], [0]))
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    with pytest.raises(StudyError, match=r"1\.parquet is damaged"):
        gathered(tmp_path, paths, candidates=2, items=1)
    QUALITY.write(QUALITY.schema.to_frame(), paths[1], {})
    with pytest.raises(StudyError, match=r"1\.parquet holds table 'quality'"):
        gathered(tmp_path, paths, candidates=2, items=1)
