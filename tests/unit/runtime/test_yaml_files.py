"""No key of a YAML file is dropped without a word, and what cannot be read is named with its line."""

import pytest

from iclscope.runtime.configuration import yaml_files
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
    ("line", "said", "remedy"),
    [
        ("question: {{q}}", "a mapping or list stands for a key", "such as {{question}}, in quotes"),
        ("choices: [{{a}}, {{b}}]", "a mapping or list stands for a key", "such as {{question}}, in quotes"),
        ("? [a, b]\n: 1", "a mapping or list stands for a key", "begins with braces or brackets"),
        ("question: {{q}} is it?", "expected <block end>", "such as {{, %, # or a colon, in quotes"),
        ("question: Question: {{q}}", "mapping values are not allowed here", "or a colon, in quotes"),
        ("question: {% if q %}a{% endif %}", "character '%'", "such as {{, %"),
        ("question: @q", "character '@'", "in quotes"),
        ("question: 'it's'", "expected <block end>", "in quotes"),
        ("question:\n\ta: b", "character '\\t'", "indent with spaces, not with tabs"),
        ("question: !template q", "tag '!template'", "begins with ! or = in quotes, or take out the tag"),
        ("question: !!python/name:os.system", "python/name:os.system", "take out the tag"),
        ("question: =", "2002:value", "begins with ! or = in quotes"),
        ("question: *emphasis", "undefined alias", "begins with * in quotes"),
        ("<<: 3", "for merging", "<< takes a mapping"),
        ("---\nquestion: q", "another document", "take out the line ---"),
    ],
)
def test_what_no_reader_of_yaml_can_read_is_named_with_its_line_and_a_remedy(tmp_path, line, said, remedy):
    path = tmp_path / "my.yaml"
    path.write_text(f"task: mine\n{line}\n")
    with pytest.raises(StudyError) as caught:
        yaml_files.compose(path)
    expected = 3 if "\n\t" in line else 2
    assert str(caught.value).startswith(f"{path}, line {expected}: not YAML (")
    assert said in str(caught.value)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [("2020-13-45", "timestamp"), ("!!int many", "int"), ("!!bool maybe", "bool"), ("!!timestamp now", "timestamp")],
)
def test_a_value_that_is_not_of_the_kind_it_looks_like_is_named(tmp_path, value, kind):
    path = tmp_path / "my.yaml"
    path.write_text(f"a: 1\nb: [c, {value}]\n")
    shown = value.rpartition(" ")[2]
    sentence = f"line 2: YAML takes {shown} for a value of the kind {kind}, which it is not; put it in quotes"
    with pytest.raises(StudyError, match=sentence):
        yaml_files.compose(path)


def test_what_holds_itself_or_is_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "my.yaml"
    for text in ("a: 1\nb: &x [1, *x]\n", "a: 1\nb: &x {c: {d: *x}}\n", "a: 1\nb: &x\n  - c: *x\n"):
        path.write_text(text)
        with pytest.raises(StudyError, match=r"my\.yaml, line 2: b[a-z.]* is a part of itself"):
            yaml_files.compose(path)
    path.write_text(f"a: {'[' * 2000}{']' * 2000}\n")
    with pytest.raises(StudyError, match="too deep"):
        yaml_files.compose(path)


def test_aliases_of_aliases_are_read_in_no_time(tmp_path):
    path = tmp_path / "my.yaml"
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    path.write_text("\n".join(lines))
    yaml_files.compose(path)


def test_a_folder_of_that_name_is_no_file(tmp_path):
    with pytest.raises(StudyError, match="cannot be read"):
        yaml_files.compose(tmp_path)


def test_functions_are_read_as_their_names(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("a: !function utils.f\nb: {c: [1, x]}\n")
    read = yaml_files.load(path)
    assert read == {"a": "utils.f", "b": {"c": [1, "x"]}}
    assert isinstance(read["a"], yaml_files.Function)
    path.write_text("")
    assert yaml_files.load(path) is None


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
