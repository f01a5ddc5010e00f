"""Parquet files that explain and guard themselves: declared columns, provenance, and a seal over every byte.

Writers refuse a frame that differs from its declaration; files carry the description of each column in their field
metadata and their provenance in the schema metadata (key `iclscope`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import BLANK_SEAL, atomic_file, is_sealed, seal

PROVENANCE_KEY = b"iclscope"


@dataclass(frozen=True)
class Column:
    """One column: its polars type, what it holds, the unit, and whether it may be empty."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A declared table: `key` columns identify a row, rows are stored in the writer's order."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def schema(self) -> pl.Schema:
        """Column names and polars types, in order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def check(self, frame: pl.DataFrame) -> None:
        """Refuse a frame whose columns, types, empty values or keys differ from the declaration."""
        if frame.schema != self.schema:
            wanted, found = dict(self.schema), dict(frame.schema)
            names = [n for n in {**wanted, **found} if wanted.get(n) != found.get(n)]
            detail = "; ".join(f"{n}: declared {wanted.get(n)}, found {found.get(n)}" for n in names)
            raise StudyError(f"table {self.name} differs from its declaration: {detail or 'column order'}")
        for column in self.columns:
            if not column.nullable and frame[column.name].null_count():
                raise StudyError(f"table {self.name}: column {column.name} has empty values but must have none")
        if frame.select(self.key).is_duplicated().any():
            raise StudyError(f"table {self.name}: two rows share the same {', '.join(self.key)}")

    def write(
        self,
        frame: pl.DataFrame,
        path: str | Path,
        provenance: Mapping[str, Any],
        row_group_size: int | None = None,
    ) -> None:
        """Check `frame` and write it to `path`, whole or not at all, with page checksums."""
        with self.writer(path, provenance) as writer:
            writer.append(frame, row_group_size)

    @contextmanager
    def writer(self, path: str | Path, provenance: Mapping[str, Any]) -> Iterator["TableWriter"]:
        """Yield a writer that takes a table too large for memory piece by piece, whole or not at all."""
        schema = self.arrow_schema(provenance)
        words = [column.name for column in self.columns if column.dtype == pl.String]
        layout = {"compression": "zstd", "use_dictionary": words, "write_page_checksum": True}  # numbers hardly repeat
        with atomic_file(path) as temporary:
            with pq.ParquetWriter(temporary, schema, **layout) as parquet:
                parquet.add_key_value_metadata({"checksum": BLANK_SEAL})
                yield TableWriter(self, parquet)
            seal(temporary)

    def read(self, path: str | Path, columns: list[str] | None = None) -> pl.DataFrame:
        """Read `path`; refuse a file of another kind and one of which a single byte has changed since it was written.

        Page checksums alone would not do: they leave out the footer, which says where and what the columns are.
        """
        try:
            if not is_sealed(path):
                raise StudyError(f"{path} is damaged or not a table of this study; delete it and rerun")
            with pq.ParquetFile(path) as file:  # read_table imports pandas, most of the time of a short job
                table = file.read(columns)
            if columns is not None:
                table = table.select(columns)
        except FileNotFoundError as error:
            raise StudyError(f"{path} does not exist") from error
        except (OSError, KeyError, pa.ArrowException) as error:
            raise StudyError(f"{path} is damaged and must be made again; delete it and rerun ({error})") from error
        made = json.loads((table.schema.metadata or {}).get(PROVENANCE_KEY, b"{}"))
        if made.get("table") != self.name:
            raise StudyError(f"{path} holds table {made.get('table')!r}, not {self.name!r}; delete it and rerun")
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def arrow_schema(self, provenance: Mapping[str, Any]) -> pa.Schema:
        """The Arrow schema with descriptions and units per field and the provenance of the file."""
        plain = self.schema.to_frame().to_arrow().schema
        fields = [
            plain.field(column.name)
            .with_nullable(column.nullable)
            .with_metadata({"description": column.description, "unit": column.unit})
            for column in self.columns
        ]
        record = {"table": self.name, "description": self.description, "key": list(self.key), **provenance}
        return pa.schema(fields, metadata={PROVENANCE_KEY: json.dumps(record, sort_keys=True).encode()})


@dataclass(frozen=True)
class TableWriter:
    """An open file of a table; made by `Table.writer`."""

    table: Table
    parquet: pq.ParquetWriter

    def append(self, frame: pl.DataFrame, row_group_size: int | None = None, by: Sequence[str] = ()) -> None:
        """Check `frame` and write it as row groups of its own, of at most `row_group_size` rows (default: 2**20).

        A new row group begins where a column of `by` changes. Keys are checked within `frame`; that they differ
        between pieces is up to the caller.
        """
        self.table.check(frame)
        rows, start = frame.to_arrow().cast(self.parquet.schema), 0
        for length in frame.select(pl.struct(by).rle().struct.field("len")).to_series() if by else [frame.height]:
            self.parquet.write_table(rows.slice(start, length), row_group_size)
            start += length


def read_provenance(path: str | Path) -> dict[str, Any]:
    """The provenance record stored in a Parquet file of the study (table, settings, versions, upstream files)."""
    metadata = pq.read_schema(path).metadata or {}
    if PROVENANCE_KEY not in metadata:
        raise StudyError(f"{path} was not written by iclscope: it has no provenance record")
    record: dict[str, Any] = json.loads(metadata[PROVENANCE_KEY])
    return record


def is_made_by(recipe: str, path: str | Path) -> bool:
    """Whether `path` is an undamaged table whose provenance record holds this `recipe`."""
    return Path(path).is_file() and is_sealed(path) and read_provenance(path).get("recipe") == recipe
