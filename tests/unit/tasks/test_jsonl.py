import pytest

from iclscope.runtime.errors import StudyError
from iclscope.tasks.rows import read_rows, write_rows

SEPARATORS = "a\u2028b\u2029c\x0bd\x0ce\x1cf\x85g"  # lines for str.splitlines, text for JSON


def test_rows_survive_writing_and_reading(tmp_path):
    rows = [{"text": SEPARATORS, "n": 1}, {"text": "naïve 東京", "nested": {"a": [None, True]}}, {"lone": "\ud800"}]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows
    assert "東京".encode() in (tmp_path / "rows.jsonl").read_bytes()


def test_byte_order_mark_blank_lines_and_carriage_returns_are_no_rows(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}\n')
    assert read_rows(tmp_path / "rows.jsonl") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1}\n{"a": \n', ["line 2", "column", "not JSON"]),
        (b'{"a": 1}\n{"a": "\xe9"}\n', ["line 2", "byte 8", "not UTF-8"]),
        (b'{"a": 1}\n[1, 2]\n', ["line 2", "JSON object", "list"]),
        (b'{"a": 1}\nnull\n', ["line 2", "JSON object", "NoneType"]),
    ],
)
def test_bad_line_is_named(tmp_path, content, words):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(StudyError) as caught:
        read_rows(path)
    assert all(word in str(caught.value) for word in [str(path), *words])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"none\.jsonl does not exist"):
        read_rows(tmp_path / "none.jsonl")
