"""What a result file is: `python -m iclscope describe FILE`, and docs/reference/tables.md by the same declarations."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from iclscope.runtime.errors import StudyError
from iclscope.runtime.parquet import Table, read_provenance

SAMPLE_ROWS = 5
WIDTH = 120  # characters of a line of the sample


def description_of(path: str | Path) -> str:
    """What a Parquet file of the study is, how it was made, its columns with units, its size and a few rows.

    Raises StudyError if the file is missing, no Parquet or not the study's.
    """
    try:
        parquet = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise StudyError(f"{path} does not exist") from error
    except (OSError, pa.ArrowException) as error:
        raise StudyError(f"{path} is no Parquet file ({error})") from error
    with parquet:
        record = read_provenance(path)
        size, rows = Path(path).stat().st_size, parquet.metadata.num_rows
        first = next(parquet.iter_batches(SAMPLE_ROWS), None)
        parts = [
            f"{path}: table {record['table']}",
            record["description"],
            f"{rows:,} rows, {len(parquet.schema_arrow)} columns, {size:,} bytes",
            f"A row per {', '.join(record['key'])}.",
            "\nHow it was made",
            *_indented(_origin(record)),
            "\nColumns",
            *_indented(_columns(parquet.schema_arrow)),
            f"\nFirst rows ({min(SAMPLE_ROWS, rows)} of {rows:,})",
            _sample(pl.DataFrame(first)) if first else "none",
        ]
    return "\n".join(parts)


def artifacts(tables: Iterable[Table]) -> str:
    """docs/reference/tables.md: every declared table with its columns, as Markdown."""
    sections = [
        "# Tables of the study\n",
        "Every Parquet file holds this about itself: `python -m iclscope describe FILE` prints it, with the settings,",
        "versions and upstream files that it was made from. A `?` after a type: the value may be empty.",
        "\nThis page is generated from the declarations in `workflow/scripts/iclscope/tables/`:",
        "`python -m iclscope artifacts > docs/reference/tables.md`.",
    ]
    for table in tables:
        sections += [
            f"\n## {table.name}\n",
            f"{table.description}. A row per {', '.join(table.key)}.\n",
            "| column | type | unit | holds |",
            "|---|---|---|---|",
        ]
        for column in table.columns:
            kind = f"{_plain(column.dtype)}{'?' if column.nullable else ''}"
            sections.append(f"| `{column.name}` | {kind} | {column.unit} | {_escaped(column.description)} |")
    return "\n".join(sections) + "\n"


def _origin(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Digest of the settings, seed, commit, a serving engine, versions and upstream files."""
    yield "settings", f"digest {record.get('settings_digest', 'not recorded')}"
    yield "", str(record.get("settings", ""))
    yield "seed", str(record.get("seed", "not recorded"))
    yield "commit", record.get("git_commit", "not recorded")
    if "engine" in record:
        yield "engine", " ".join(record["engine"].values())
    yield "versions", ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
    for name, digest in record.get("inputs", {}).items():
        yield "from", f"{name} (sha256 {digest[:16]}…)"


def _columns(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Name, type, unit and meaning of each column."""
    for field in schema:
        about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        unit = f" in {about['unit']}" if about.get("unit") else ""
        may_be_empty = ", may be empty" if field.nullable else ""
        yield field.name, f"{about.get('description', '')} [{field.type}{unit}{may_be_empty}]"


def _indented(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    known = list(rows)
    widest = max((len(name) for name, _ in known), default=0)
    return (f"  {name:<{widest}}  {text}" for name, text in known)


def _sample(frame: pl.DataFrame) -> str:
    with pl.Config(tbl_cols=-1, tbl_width_chars=WIDTH, tbl_hide_dataframe_shape=True, fmt_str_lengths=40):
        return str(frame)


def _plain(dtype: Any) -> str:
    """A polars type without its dress: `List(Float32)` → list of Float32."""
    if isinstance(dtype, pl.List):
        return f"list of {_plain(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return f"struct of {', '.join(field.name for field in dtype.fields)}"
    return str(dtype)


def _escaped(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
