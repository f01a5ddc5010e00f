"""Data sets brought to this machine in one form: one `{split}.jsonl` per split, with the columns of the hub.

Beside them `source.json` says where they came from. The folder is complete or absent.
"""

import codecs
import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.runtime import files
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Task
from iclscope.sources import wheels
from iclscope.sources.readers import READERS
from iclscope.tasks.rows import Row, parse, parse_rows, write_rows

logger = logging.getLogger(__name__)

WHOLE_NUMBER = r"^(0|-?[1-9]\d{0,17})$"  # of 64 bits, and without a zero or sign that a number would lose

Settings = Mapping[str, Any]


def run(*, task: Task, settings: Settings, wheel: str | Path | None, data_out: str | Path) -> None:
    """Make the data folder `data_out` from the `settings` of a data set.

    task: its definition names the hub's repository. wheel: the fetched wheel, for `source: wheel`.
    """
    key = task.key
    match settings["source"]:
        case "wheel":
            splits, origin = _wheel_data(settings, wheel, key)
        case "files":
            paths = {split: Path(path) for split, path in settings["files"].items()}
            splits = {split: _local_rows(path, f"{key}.files.{split}") for split, path in paths.items()}
            origin = {"files": {split: {"path": str(p), "sha256": files.sha256(p)} for split, p in paths.items()}}
        case "hub":
            splits, origin = _hub_data(settings, task)
    with files.atomic_folder(data_out) as target:
        for split, rows in splits.items():
            _write_split(target / f"{split}.jsonl", rows, f"{key}, split {split}")
        counts = {split: len(rows) for split, rows in splits.items()}
        checksums = {split: files.sha256(target / f"{split}.jsonl") for split in splits}
        record = {"source": settings["source"], **origin, "rows": counts, "checksums": checksums}
        files.write_text(target / "source.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    logger.info("%s: %s", key, ", ".join(f"{count} rows of {split}" for split, count in counts.items()))


def _wheel_data(settings: Settings, wheel: str | Path | None, key: str) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    assert wheel is not None
    reader = READERS.get(settings["reader"])
    if reader is None:
        raise StudyError(f"{key}.reader: there is no reader {settings['reader']}; choose one of {', '.join(READERS)}")
    with wheels.open_wheel(wheel) as archive:
        try:
            splits = reader(archive, f"{key}.reader")
        except (KeyError, TypeError) as error:
            raise StudyError(
                f"{key}.reader: {reader.__name__} cannot read {Path(wheel).name}, a row lacks {error}; "
                "use the version that the reader was made for"
            ) from error
    return splits, {field: settings[field] for field in ("package", "version", "sha256", "reader")}


def _hub_data(settings: Settings, task: Task) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    from iclscope.sources import hub
    from iclscope.tasks import harness

    config = harness.task_config(*task)
    repo = settings.get("repo") or config.get("dataset_path")
    if repo is None:
        raise StudyError(f"{task.key}.repo: task {task.name} names no repository of the hub; set it")
    name = settings.get("name") or (None if settings.get("repo") else config.get("dataset_name"))
    splits, commit = hub.download_data(repo, name, settings.get("revision"), task.key)
    return splits, {"repo": repo, "name": name, "commit": commit}


def _local_rows(path: Path, key: str) -> list[Row]:
    """Rows of a JSON Lines, JSON, CSV or Parquet file."""
    if not path.is_file():
        raise StudyError(f"{key}: {path} does not exist; correct the path")
    try:
        match path.suffix.lower():
            case ".jsonl" | ".json":
                return _json_rows(path)
            case ".csv":
                return _csv_rows(path)
            case ".parquet":
                return pl.read_parquet(path).to_dicts()
            case other:
                raise StudyError(f"{path} ends in {other!r}; give a .jsonl, .json, .csv or .parquet file")
    except StudyError as error:
        raise StudyError(f"{key}: {error}") from error
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{key}: {path} cannot be read, its byte {error.start + 1} is not UTF-8; save the file as UTF-8"
        ) from error
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise StudyError(f"{key}: {path} cannot be read ({str(error).splitlines()[0]}); mend the file") from error


def _json_rows(path: Path) -> list[Row]:
    """Rows of a list of objects or of JSON Lines, whatever the ending of the file says."""
    content = path.read_bytes()
    text = content.removeprefix(codecs.BOM_UTF8).lstrip()
    first, _, others = text.partition(b"\n")
    lines = not text.startswith(b"[") and (path.suffix.lower() == ".jsonl" or (others.strip() and _is_object(first)))
    if lines:
        # Bytes that are no UTF-8 stay recognisable, so that the pool can drop their rows and count them.
        return parse_rows(io.BytesIO(content), str(path), errors="surrogateescape")
    rows = parse(content.decode("utf-8-sig"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise StudyError(f"{path} must hold a list of objects")
    return rows


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode(errors="replace")), dict)
    except ValueError:
        return False


def _csv_rows(path: Path) -> list[Row]:
    """Rows of a CSV file, each cell the text that stands there.

    Only a column of nothing but whole numbers, written as Python writes them, becomes numbers: a task may take them as
    indices, and shows them as they were. Empty cells are None.
    """
    text = path.read_bytes().decode("utf-8-sig")
    text = text if "\n" in text else text.replace("\r", "\n")
    _check_cells(text, path)
    frame = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False)
    frame = frame.filter(pl.any_horizontal(pl.all().is_not_null()))  # blank lines are no rows
    whole = [
        column.name
        for column in frame
        if column.null_count() < len(column) and column.drop_nulls().str.contains(WHOLE_NUMBER).all()
    ]
    return frame.with_columns(pl.col(whole).cast(pl.Int64)).to_dicts()


def _check_cells(text: str, path: Path) -> None:
    """Refuse a CSV file with two columns of one name, with quotes that do not close, or with a row of too many cells.

    A row may lack cells at its end, which are empty ones.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    line = 1
    try:
        for cells in rows:
            names = names or cells
            if len(cells) > len(names):
                raise StudyError(
                    f"{path}, line {line}: {len(cells)} cells under {len(names)} columns; put a text that holds a "
                    "comma in double quotes"
                )
            line = rows.line_num + 1
    except csv.Error as error:
        raise StudyError(
            f"{path}, line {line}: the quotes of a cell cannot be told ({error}); put a text that holds quotes in "
            "double quotes, and write each of its own twice"
        ) from error
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise StudyError(f"{path} has two columns {twice or 'without a name'}; rename one of them")


def _write_split(path: Path, rows: Sequence[Row], where: str) -> None:
    if not rows:
        raise StudyError(f"{where} has no rows; check the source")
    try:
        write_rows(path, rows)
    except TypeError as error:
        cells = ((n, name, value) for n, row in enumerate(rows) for name, value in row.items())
        number, name, value = next(cell for cell in cells if not _is_plain(cell[-1]))
        raise StudyError(
            f"{where}: row {number} holds more than text, numbers, lists and objects in column {name} "
            f"({type(value).__name__}); turn that column into text, or leave it out"
        ) from error


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
