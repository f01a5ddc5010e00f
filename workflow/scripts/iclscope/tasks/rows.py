"""Rows of data sets as JSON Lines: one object a line, UTF-8."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from iclscope.runtime.errors import StudyError

Row = dict[str, Any]

LONG = 19  # digits of the largest integer of 64 bits


def read_rows(path: str | Path, errors: str = "strict") -> list[Row]:
    """Read a JSON Lines file; a line that is no JSON object or no UTF-8 is an error that names it.

    errors: what is done with bytes that are no UTF-8, as in `bytes.decode`.
    """
    try:
        with Path(path).open("rb") as file:
            return parse_rows(file, str(path), errors)
    except FileNotFoundError as error:
        raise StudyError(f"{path} does not exist") from error


def parse_rows(lines: Iterable[bytes], source: str, errors: str = "strict") -> list[Row]:
    """Parse lines that end in a line feed, not in any other line separator; blank lines are skipped.

    source: what an error calls the file.
    """
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors)
            row = parse(text) if text.strip() else None
        except DoubleKeyError as error:
            raise StudyError(f"{source}, line {number}: {error}; delete one of the two") from error
        except UnicodeDecodeError as error:
            raise StudyError(
                f"{source}, line {number}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
            ) from error
        except json.JSONDecodeError as error:
            raise StudyError(
                f"{source}, line {number}, column {error.colno}: not JSON ({error.msg}); mend it"
            ) from error
        if isinstance(row, dict):
            rows.append(row)
        elif text.strip():
            raise StudyError(f"{source}, line {number}: a row must be a JSON object, found {type(row).__name__}")
    return rows


def parse(text: str) -> Any:
    """A JSON value, integers of more than 64 bits as their text; raises `DoubleKeyError` and JSONDecodeError."""
    return json.loads(text, object_pairs_hook=_object, parse_int=_integer)


class DoubleKeyError(ValueError):
    """An object has a key twice, of which readers of JSON keep the last without a word."""


def _object(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise DoubleKeyError(f"key {key} stands there twice")
    return found


def _integer(digits: str) -> int | str:
    """An integer, if the libraries behind a task can hold it."""
    return int(digits) if len(digits) < LONG or (len(digits) <= LONG + 1 and abs(int(digits)) < 2**63) else digits


def undecoded(row: Row) -> str | None:
    """The first field with text that cannot be written as UTF-8, such as a byte that was none in the source."""
    for name, value in row.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return name
    return None


def write_rows(path: str | Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON Lines; text stays readable, half of a surrogate pair stays escaped."""
    with Path(path).open("wb") as file:
        for row in rows:
            try:
                line = json.dumps(row, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                line = json.dumps(row).encode()
            file.write(line + b"\n")
