import polars as pl
import pytest

from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import POOL, SAMPLE
from iclscope.tasks.samples import run_sample

ROLES = {"candidate": "candidates", "item": "items"}


def row(role, rank, split, source_row):
    text = {"description": "", "question": f"{source_row}?", "target_delimiter": " ", "prefix": f"{source_row}? no\n\n"}
    spans = {"question_start": 0, "question_end": 2, "answer_start": 3, "answer_end": 5}
    place = {"role": role, "id": rank, "split": split, "source_row": source_row}
    return {**place, **text, **spans, "kind": "choice", "choices": ["no", "yes"], "gold": 0, "document": "{}"}


def write_pool(path, candidates, items):
    """A pool of the given source rows: (split, row numbers) of each role, written back to front."""
    made = [
        row(role, rank, split, number)
        for role, (split, numbers) in (("candidate", candidates), ("item", items))
        for rank, number in enumerate(numbers)
    ]
    POOL.write(pl.DataFrame(made[::-1], schema=POOL.schema), path, {})
    return path


@pytest.fixture
def apart(tmp_path):
    """Candidates and items from different splits."""
    return write_pool(tmp_path / "pool.parquet", ("train", [7, 3, 9, 1]), ("test", [1, 3, 7]))


@pytest.fixture
def shared(tmp_path):
    """Candidates from the front, items from the back of one split of six rows; row 5 is too long for an item."""
    return write_pool(tmp_path / "pool.parquet", ("test", [4, 2, 5, 0, 1, 3]), ("test", [3, 1, 0, 2, 4]))


def take(pool, role, count, **opposite):
    output = pool.parent / f"{role}.parquet"
    key = f"datasets.d.{ROLES[role]}"
    run_sample(pool=pool, role=role, size=count, key=key, sample_out=output, job=Job(5, {"seed": 5}), **opposite)
    assert read_provenance(output)["seed"] == 5
    return SAMPLE.read(output)


def test_sample_is_the_head_of_its_role(apart):
    sample = take(apart, "candidate", 3)
    assert sample["source_row"].to_list() == [7, 3, 9]
    assert sample["id"].to_list() == [0, 1, 2]
    assert take(apart, "item", 2)["split"].to_list() == ["test", "test"]


def test_larger_sample_contains_the_smaller(apart):
    assert take(apart, "candidate", 4).head(2).equals(take(apart, "candidate", 2))


def test_same_row_number_of_another_split_is_another_row(apart):
    assert len(take(apart, "item", 3, opposite=4)) == 3


@pytest.mark.parametrize(("role", "available"), [("candidate", 4), ("item", 3)])
def test_more_rows_than_there_are_name_the_key(apart, role, available):
    with pytest.raises(StudyError) as caught:
        take(apart, role, available + 1)
    wanted = f"datasets.d.{ROLES[role]}: {available + 1} are asked for, but only {available} rows are left"
    assert str(caught.value).startswith(wanted)
    assert not (apart.parent / f"{role}.parquet").exists()


@pytest.mark.parametrize(("candidates", "items"), [(1, 4), (3, 3), (4, 2), (5, 1)])
def test_roles_of_one_split_may_use_all_of_its_rows(shared, candidates, items):
    chosen = take(shared, "candidate", candidates, opposite=items)["source_row"]
    asked = take(shared, "item", items, opposite=candidates)["source_row"]
    assert not set(chosen) & set(asked)


@pytest.mark.parametrize(("candidates", "items"), [(1, 5), (4, 3), (5, 2), (6, 1)])
def test_roles_of_one_split_must_not_meet(shared, candidates, items):
    for role, count, opposite in (("candidate", candidates, items), ("item", items, candidates)):
        with pytest.raises(StudyError) as caught:
            take(shared, role, count, opposite=opposite)
        assert str(caught.value).startswith(f"datasets.d.{ROLES[role]}: {count} {role}s and {opposite} ")
        assert "would share 1 rows" in str(caught.value)


@pytest.mark.parametrize(
    ("role", "count", "opposite", "rows"),
    [
        ("candidate", "all", 3, [14, 12, 15, 10, 16, 11, 17]),
        ("candidate", "all", "all", [14, 12, 15, 10, 16, 11, 17]),
        ("item", "all", "all", [1, 3, 7, 9]),
        ("item", "all", 6, [1, 3, 7, 9]),
        ("item", 4, "all", [1, 3, 7, 9]),
    ],
)
def test_all_rows_of_splits_apart(tmp_path, role, count, opposite, rows):
    pool = write_pool(tmp_path / "pool.parquet", ("train", [14, 12, 15, 10, 16, 11, 17]), ("test", [1, 3, 7, 9]))
    out = tmp_path / "out.parquet"
    run_sample(
        pool=pool, role=role, size=count, sample_out=out, job=Job(1, {}), key=f"datasets.d.{role}s", opposite=opposite
    )
    assert SAMPLE.read(out)["source_row"].to_list() == rows


@pytest.mark.parametrize(
    ("role", "count", "opposite", "rows"),
    [
        ("candidate", "all", 4, [0, 1, 2, 3, 4, 5]),
        ("candidate", "all", 3, [0, 1, 2, 3, 4, 5, 6]),
        ("item", 4, "all", [9, 8, 7, 6]),
        ("item", "all", 6, [9, 8, 7, 6]),
    ],
)
def test_all_rows_of_one_split_are_those_that_the_other_role_leaves(tmp_path, role, count, opposite, rows):
    pool = write_pool(tmp_path / "pool.parquet", ("test", list(range(10))), ("test", list(range(10))[::-1]))
    out = tmp_path / "out.parquet"
    run_sample(
        pool=pool, role=role, size=count, sample_out=out, job=Job(1, {}), key=f"datasets.d.{role}s", opposite=opposite
    )
    assert SAMPLE.read(out)["source_row"].to_list() == rows


@pytest.mark.parametrize(
    ("count", "opposite", "message"),
    [
        ("all", "all", r"^datasets\.d: candidates and items cannot both be all rows of one split; give one a number"),
        ("all", 2, r"^datasets\.d\.candidates: all are 3 rows, and a study needs 6"),
    ],
)
def test_all_that_is_too_little_or_too_much_is_refused(tmp_path, count, opposite, message):
    pool = write_pool(tmp_path / "pool.parquet", ("test", [4, 2, 5, 0, 1]), ("test", [1, 0, 5, 2, 4]))
    with pytest.raises(StudyError, match=message):
        run_sample(
            pool=pool,
            role="candidate",
            size=count,
            sample_out=tmp_path / "out",
            job=Job(1, {}),
            key="datasets.d.candidates",
            opposite=opposite,
        )
