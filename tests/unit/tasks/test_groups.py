import numpy as np
import polars as pl
import pytest

from iclscope.runtime.errors import StudyError
from iclscope.tables import POOL, SAMPLE
from iclscope.tasks.samples import Groups
from planted import sample


@pytest.fixture
def paths(tmp_path):
    """Files of six candidates and five items."""
    files = {role: tmp_path / f"{role}.parquet" for role in ("candidates", "items")}
    for (role, path), size in zip(files.items(), (6, 5), strict=True):
        SAMPLE.write(sample(role, size), path, {})
    return files


def with_clusters(path, names):
    SAMPLE.write(SAMPLE.read(path).with_columns(cluster=pl.Series(names, dtype=pl.String)), path, {})


def test_items_without_a_cluster_are_their_own(paths):
    with_clusters(paths["items"], ["a", None, "a", None, "row 1"])
    clusters = Groups.read(*paths.values(), (6, 5)).items
    assert clusters[0] == clusters[2]
    assert sorted(set(clusters)) == [0, 1, 2, 3]


def test_only_items_that_were_evaluated_have_a_cluster(paths):
    with_clusters(paths["items"], ["z", "b", None, "b", "a"])
    groups = Groups.read(*paths.values(), (6, 3))
    assert sorted(groups.items) == [0, 1, 2]
    np.testing.assert_array_equal(groups.gold, [0, 1, 0])


def test_candidates_of_one_passage_are_a_cluster_and_all_alone_are_none(paths):
    assert Groups.read(*paths.values(), (6, 5)).candidates is None
    with_clusters(paths["candidates"], ["a", "b", "c", "d", None, None])
    assert Groups.read(*paths.values(), (6, 5)).candidates is None
    with_clusters(paths["candidates"], ["b", "a", "b", None, "a", None])
    clusters = Groups.read(*paths.values(), (6, 5)).candidates
    assert clusters[0] == clusters[2]
    assert clusters[1] == clusters[4]
    assert sorted(set(clusters)) == [0, 1, 2, 3]


def test_generated_answers_have_no_gold_label(paths):
    SAMPLE.write(sample("items", 5, kind="generation"), paths["items"], {})
    assert Groups.read(*paths.values(), (6, 5)).gold is None


def test_a_pool_says_the_same_as_its_samples(paths, tmp_path):
    with_clusters(paths["candidates"], ["b", "a", "b", None, "a", None])
    roles = {"candidate": paths["candidates"], "item": paths["items"]}
    rows = [SAMPLE.read(path).with_columns(role=pl.lit(role)) for role, path in roles.items()]
    POOL.write(
        pl.concat(rows).select(POOL.schema.names()).sample(fraction=1, shuffle=True), tmp_path / "pool.parquet", {}
    )
    mine, other = Groups.of_pool(tmp_path / "pool.parquet", (6, 5)), Groups.read(*paths.values(), (6, 5))
    for name in ("gold", "items", "candidates"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))


def test_sample_with_fewer_items_than_were_evaluated_is_refused(paths):
    with pytest.raises(StudyError, match="has 5 items, the evaluation 6"):
        Groups.read(*paths.values(), (6, 6))
