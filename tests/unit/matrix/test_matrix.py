"""Gathering the blocks of a score matrix: complete, in order, nothing twice."""

from itertools import product

import polars as pl
import pytest

from iclscope.matrix import gather
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.parquet import read_provenance
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


ORIGIN = {
    "inputs": {"samples/d/pool.parquet": "0a", "models/m/source.json": "0b"},
    "settings": {"task": "boolq", "max_new_tokens": None},
    "dtype": "float32",
}


@pytest.fixture
def write(tmp_path):
    """Write blocks to a folder and return their paths."""

    def write_blocks(*frames):
        paths = [tmp_path / "blocks" / f"{number}.parquet" for number in range(len(frames))]
        for frame, path in zip(frames, paths, strict=True):
            EVALUATION.write(frame, path, ORIGIN)
        return paths

    return write_blocks


def gathered(tmp_path, paths, candidates, items, features=None):
    output = tmp_path / "matrix.parquet"
    pool, model = ORIGIN["inputs"]
    gather.run(
        blocks=paths,
        origin=gather.Origin(pool, model, [], ORIGIN["settings"], ORIGIN["dtype"]),
        features=features,
        settings={"candidates": candidates, "items": items},
        evaluation_out=output,
        job=Job(5, {"seed": 5, "inputs": ORIGIN["inputs"]}),
    )
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


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"inputs": {**ORIGIN["inputs"], "samples/d/pool.parquet": "0c"}}, "another samples/d/pool.parquet than"),
        ({"inputs": {**ORIGIN["inputs"], "models/m/source.json": "0c"}}, "another models/m/source.json than"),
        ({"inputs": {}}, "another samples/d/pool.parquet, models/m/source.json than"),
        ({"settings": {"task": "boolq", "max_new_tokens": 16}}, "another settings than"),
        ({"dtype": "bfloat16"}, "another dtype than"),
    ],
    ids=["prompts or seed", "model or revision", "no origin", "settings", "dtype"],
)
def test_a_block_made_otherwise_is_never_gathered(tmp_path, write, change, named):
    paths = write(pairs([-1, 0], [0]), pairs([1], [0]))
    EVALUATION.write(pairs([1], [0]), paths[1], {**ORIGIN, **change})
    with pytest.raises(StudyError, match=rf"1\.parquet was made with {named} .*delete it and rerun"):
        gathered(tmp_path, paths, candidates=2, items=1)
    assert not (tmp_path / "matrix.parquet").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"gold_logprob": float("nan")},
        {"margin": float("nan")},
        {"margin": float("-inf")},
        {"correct": float("nan")},
        {"correct_norm": float("inf")},
        {"logprobs": [0.0, float("nan")]},
        {"logprobs": [None, 0.0]},
        {"logprobs": []},
    ],
    ids=str,
)
def test_names_the_block_and_pair_of_a_score_that_is_no_number(tmp_path, write, wrong):
    ((column, value),) = wrong.items()
    block = pairs([1, 2], [0])
    values = [block[column][0], value]
    block = block.with_columns(pl.Series(column, values, dtype=EVALUATION.schema[column]))
    paths = write(pairs([-1, 0], [0]), block)
    with pytest.raises(StudyError, match=r"1\.parquet holds a score .* candidate 2 before item 0; delete it"):
        gathered(tmp_path, paths, candidates=3, items=1)


def test_scores_that_the_task_does_not_have_are_no_mistake(tmp_path, write):
    plain = pairs([-1, 0], [0]).with_columns(
        pl.lit(None, dtype=pl.Float32).alias(column) for column in ("margin", "correct_norm")
    )
    assert EVALUATION.read(gathered(tmp_path, write(plain), candidates=1, items=1)).equals(plain)


def test_an_empty_block_is_named(tmp_path, write):
    with pytest.raises(StudyError, match=r"1\.parquet is empty; delete it and rerun"):
        gathered(tmp_path, write(pairs([-1, 0], [0]), pairs([], [])), candidates=1, items=1)


def test_names_the_first_missing_and_the_two_that_overlap(tmp_path, write):
    with pytest.raises(StudyError, match="the first missing is candidate 1 before item 1"):
        gathered(tmp_path, write(pairs([-1, 0], [0, 1]), pairs([1], [0])), candidates=2, items=2)
    with pytest.raises(StudyError, match=r"candidate 0 before item 1 stands in .*0\.parquet and .*1\.parquet"):
        gathered(tmp_path, write(pairs([-1, 0], [0, 1]), pairs([0], [1])), candidates=1, items=2)
