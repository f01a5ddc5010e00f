"""Candidates and items: the first rows of the pool, so that a larger sample contains every smaller one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.tables import POOL, SAMPLE

FEWEST_CLUSTERS = 4  # of items, which are halved to choose and to judge
CANDIDATE, ITEM = "candidate", "item"
ALL = "all"  # in place of a number of either
FEWEST = {CANDIDATE: 6, ITEM: 4}


def count_of(pool: str | Path, entry: Mapping[str, Any], role: str, key: str) -> int:
    """How many candidates or items a study takes from a pool; `entry`: `candidates` and `items`, numbers or `all`.

    All rows of a split that both roles share are those that the other role leaves. key: of the data set, for errors.
    """
    if entry[f"{role}s"] != ALL:
        return int(entry[f"{role}s"])
    frame = POOL.read(pool, columns=["role", "id", "split", "source_row"]).sort("id")
    mine, others = (frame.filter(pl.col("role") == one) for one in (role, _other(role)))
    if entry[f"{_other(role)}s"] == ALL:
        if mine.join(others, on=["split", "source_row"], how="semi").height:
            raise StudyError(f"{key}: candidates and items cannot both be all rows of one split; give one a number")
        return mine.height
    taken = others.filter(pl.col("id") < entry[f"{_other(role)}s"])
    met = mine.join(taken, on=["split", "source_row"], how="semi")
    left = mine.height if met.is_empty() else met.select(pl.min("id")).item()
    if left < FEWEST[role]:
        raise StudyError(f"{key}.{role}s: all are {left} rows, and a study needs {FEWEST[role]}; raise max_tokens")
    return left


def run_sample(
    *,
    pool: str | Path,
    role: str,
    size: int | str,
    opposite: int | str = 0,
    key: str,
    sample_out: str | Path,
    job: Job,
) -> None:
    """Write the first `size` rows of a role of the pool: the candidates or the items of the study.

    role: candidate or item. size: a number or `all`. opposite: rows that the other role takes; where both come from
    one split they must not meet. key: the config key of `size`, such as `datasets.boolq.candidates`, for errors.
    """
    entry = {f"{role}s": size, f"{_other(role)}s": opposite}
    dataset = key.rpartition(".")[0]
    size, opposite = (count_of(pool, entry, one, dataset) for one in (role, _other(role)))
    frame = POOL.read(pool)
    other = _other(role)
    chosen, opposed = (
        frame.filter(pl.col("role") == name, pl.col("id") < head) for name, head in ((role, size), (other, opposite))
    )
    if len(chosen) < size:
        raise StudyError(
            f"{key}: {size} are asked for, but only {len(chosen)} rows are left after the filters; ask for fewer or "
            "raise max_tokens"
        )
    both = chosen.join(opposed, on=["split", "source_row"], how="semi")
    if len(both):
        raise StudyError(
            f"{key}: {size} {role}s and {opposite} {other}s come from one split and would share {len(both)} rows; ask "
            "for fewer of either, or raise max_tokens"
        )
    clusters = chosen["cluster"].n_unique() if not chosen["cluster"].has_nulls() else FEWEST_CLUSTERS
    if role == ITEM and clusters < FEWEST_CLUSTERS:
        raise StudyError(
            f"{key}: the {size} items are of {clusters} clusters, and halves need at least {FEWEST_CLUSTERS}; ask for "
            "more, or for no cluster"
        )
    SAMPLE.write(chosen.sort("id").drop("role"), sample_out, job.provenance)


def further_rows(pool: pl.DataFrame, candidates: pl.DataFrame, items: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most so many rows of a pool that are neither candidates nor items, each once; `id` numbers them from 0.

    First those that could be candidates, in their order, then those that could be items.
    """
    row = ["split", "source_row"]
    left = pool.sort("role", "id").join(pl.concat([candidates.select(row), items.select(row)]), on=row, how="anti")
    once = left.unique(row, keep="first", maintain_order=True).head(most)
    return once.with_columns(id=pl.int_range(once.height, dtype=pl.Int32)).drop("role")


@dataclass(frozen=True)
class Groups:
    """What rows of a score matrix [C, N] have in common.

    `gold` [N] is the index of each item's right answer, None where answers are generated; `items` [N] and
    `candidates` [C] number the passages that rows share from 0, None where every candidate is alone.
    """

    gold: NDArray[np.int64] | None
    items: NDArray[np.int64]
    candidates: NDArray[np.int64] | None

    @classmethod
    def read(cls, candidates: str | Path, item_rows: str | Path, shape: tuple[int, int]) -> "Groups":
        """Of the first C candidates and N items of two samples; there may be more of them, never fewer."""
        columns = ["id", "kind", "gold", "cluster"]
        named = {CANDIDATE: candidates, ITEM: item_rows}
        return cls._of({role: SAMPLE.read(path, columns=columns) for role, path in named.items()}, shape, named)

    @classmethod
    def of_pool(cls, pool: str | Path, shape: tuple[int, int]) -> "Groups":
        """Of the first C candidates and N items of a pool."""
        rows = POOL.read(pool, columns=["role", "id", "kind", "gold", "cluster"]).partition_by("role", as_dict=True)
        return cls._of({role: rows[role,] for role in FEWEST}, shape, dict.fromkeys(FEWEST, pool))

    @classmethod
    def _of(cls, rows: Mapping[str, pl.DataFrame], shape: tuple[int, int], paths: Mapping[str, str | Path]) -> "Groups":
        first = {}
        for (role, frame), size in zip(rows.items(), shape, strict=True):
            first[role] = frame.sort("id").head(size)
            if first[role]["id"].to_list() != list(range(size)):
                raise StudyError(
                    f"{paths[role]} has {frame.height} {role}s, the evaluation {size}: delete the evaluation and rerun"
                )
        candidates, items = first[CANDIDATE], first[ITEM]
        alone = candidates["cluster"].drop_nulls().is_unique().all()
        return cls(
            gold=items["gold"].to_numpy().astype(np.int64) if (items["kind"] == "choice").all() else None,
            items=_clusters(items),
            candidates=None if alone else _clusters(candidates),
        )


def _clusters(rows: pl.DataFrame) -> NDArray[np.int64]:
    """Cluster number of each row, from 0; a row without a cluster is its own."""
    alone = pl.concat_str(pl.lit("row "), "id")
    names = rows.select(pl.concat_str(pl.lit("cluster "), "cluster").fill_null(alone)).to_series()
    return names.rank("dense").to_numpy().astype(np.int64) - 1


NO_LABELS = "its answers are generated, or its rows do not all have the same choices"


def labels_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The choices of rows of a sample (kind, choices), if all have the same; else none, as for generated answers."""
    found = {tuple(row["choices"]) if row["kind"] == "choice" else () for row in rows}
    return list(found.pop()) if len(found) == 1 else []


def _other(role: str) -> str:
    return ITEM if role == CANDIDATE else CANDIDATE
