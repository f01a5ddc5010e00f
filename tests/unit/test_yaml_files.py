"""No key of a YAML file is dropped without a word."""

import pytest

from iclscope.runtime import yaml_files
from iclscope.runtime.errors import StudyError


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "datasets:\n  a: 1\nmodels: {}\ndatasets:\n  b: 2\n",
            ", line 4: key datasets stands there already, in line",
        ),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", ", line 4: key a.b stands there already, in line 2"),
        ("a: {b: 1, b: 2}\n", ", line 1: key a.b stands"),
        ("a:\n  - b: 1\n    c: 2\n  - b: 1\n    b: 2\n", ", line 5: key a.b stands there already, in line 4"),
        ("yes: 1\ntrue: 2\n", ", line 2: key true stands there already"),
        ("'a': 1\n\"a\": 2\n", ", line 2: key a stands"),
        ("1: a\n0x1: b\n", ", line 2: key 0x1 stands"),
        ("x: !function a.b\nx: !function a.c\n", ", line 2: key x stands"),
        ("? [a, b]\n: 1\n? [a, b]\n: 2\n", ", line 3: key "),
        ("a: [unclosed\n", ", line 2: not YAML"),
        ("a: b: c\n", ", line 1: not YAML (mapping values are not allowed here); mend it"),
        ("a:\n\tb: 1\n", ", line 2: not YAML"),
    ],
)
def test_a_key_that_stands_there_twice_is_named_with_its_line(tmp_path, text, sentence):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        yaml_files.compose(path)
    assert str(caught.value).startswith(f"{path}{sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1\nb:\n  a: 2\nc:\n  - a: 1\n  - a: 2\n",
        "1: a\n'1': b\n",
        "base: &base {x: 1, y: 2}\na:\n  <<: *base\n  x: 3\nb:\n  <<: *base\n",
    ],
)
def test_other_files_pass(tmp_path, text):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    yaml_files.compose(path)


def test_json_is_read_too(tmp_path):
    path = tmp_path / "my.json"
    path.write_text('{\n\t"a": 1,\n\t"b": 2\n}\n')
    yaml_files.compose(path)
    path.write_text('{\n\t"a": 1,\n\t"a": 2\n}\n')
    with pytest.raises(StudyError, match="line 3: key a stands there already, in line 2"):
        yaml_files.compose(path)


def test_bytes_that_are_no_utf8_are_named(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_bytes("a: naïve\n".encode("latin-1"))
    with pytest.raises(StudyError, match=r"my\.yaml: byte 6 is not UTF-8; save the file as UTF-8"):
        yaml_files.compose(path)
