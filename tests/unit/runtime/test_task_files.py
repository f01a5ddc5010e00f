"""Which files a task is loaded from, found without the harness; and what YAML makes of its choices."""

from pathlib import Path

import pytest

from iclscope.runtime.configuration import task_files
from iclscope.runtime.errors import StudyError
from iclscope.tasks import harness

OWN = Path(__file__).parents[3] / "config" / "tasks"
PLAIN = "dataset_path: a/b\noutput_type: multiple_choice\ntest_split: test\ndoc_to_text: q\ndoc_to_target: a\n"


def write(folder, **files):
    """Files by name, `__` standing for a slash and `_` before the ending for a dot."""
    for name, text in files.items():
        path = folder / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(folder, task):
    found = task_files.find(task, folder)
    return sorted(path.resolve().relative_to(folder.resolve()).as_posix() for path in found.files)


def test_every_file_of_a_definition_counts(tmp_path):
    write(
        tmp_path,
        other_yaml="task: other\n",
        mine_yaml="task: mine\ninclude: shared/base.yaml\ndoc_to_text: !function utils.text\n"
        "metric_list:\n  - metric: !function deep.scores.f\n",
        utils_py="from helper import clean\nWORDS = open('words.txt')\nMORE = 'lists'\n",
        helper_py="import json\nimport utils\n",
        words_txt="a\n",
        lists__a_txt="a\n",
        lists__b_txt="b\n",
        deep__scores_py="f = 1\n",
        shared__base_yaml=f"include: more.yaml\nprocess_docs: !function prepare.f\n{PLAIN}",
        shared__more_yaml="doc_to_choice: [a, b]\n",
        shared__prepare_py="f = 1\n",
        unused_py="x = 1\n",
    )
    assert names(tmp_path, "mine") == [
        "deep/scores.py", "helper.py", "lists/a.txt", "lists/b.txt", "mine.yaml", "shared/base.yaml",
        "shared/more.yaml", "shared/prepare.py", "utils.py", "words.txt",
    ]  # fmt: skip
    assert task_files.find("mine", tmp_path).fields["doc_to_choice"] == ["a", "b"]
    assert names(tmp_path, "other") == ["other.yaml"]


def test_a_task_in_a_folder_of_its_own_is_found(tmp_path):
    write(tmp_path, mine__task_yaml=f"task: mine\nprocess_docs: !function utils.f\n{PLAIN}", mine__utils_py="f = 1\n")
    assert names(tmp_path, "mine") == ["mine/task.yaml", "mine/utils.py"]
    assert task_files.find("none", tmp_path) is None


@pytest.mark.parametrize("name", ["boolq", "commonsense_qa", "asdiv_generate"])
def test_the_definition_is_that_of_the_harness(name):
    theirs = harness.task_config(name, OWN, "k")
    found = task_files.find(name, OWN)
    assert found.fields == theirs
    assert found.files == [OWN / f"{name}.yaml"]


def test_local_keys_win_over_included_ones(tmp_path):
    write(tmp_path, base_yaml=f"task: base\n{PLAIN}", mine_yaml="include: base.yaml\ntask: mine\ndoc_to_text: mine\n")
    fields = task_files.find("mine", tmp_path).fields
    assert (fields["task"], fields["doc_to_text"], fields["doc_to_target"]) == ("mine", "mine", "a")
    assert "include" not in fields


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"mine_yaml": "task: mine\ndoc_to_text: a\ndoc_to_text: b\n"}, "mine.yaml, line 3: key doc_to_text stands"),
        ({"mine_yaml": "task: mine\ninclude: b.yaml\n", "b_yaml": "x: 1\nx: 2\n"}, "b.yaml, line 2: key x stands"),
        ({"mine_yaml": "task: [mine\n"}, "mine.yaml, line 2: not YAML"),
        ({"mine_yaml": "task: mine\ninclude: none.yaml\n"}, "the file none.yaml that it includes does not exist"),
        ({"mine_yaml": "- task: mine\n"}, "a task file holds fields and their values"),
        ({"mine_yaml": ""}, "a task file holds fields and their values"),
        ({"mine_yaml": "task: mine\ndoc_to_text: {{q}}\n"}, "mine.yaml, line 2: not YAML (a mapping or list stands"),
        ({"mine_yaml": "task: mine\ndoc_to_text: !template q\n"}, "mine.yaml, line 2: not YAML (could not determine"),
        ({"mine_yaml": "task: mine\ndoc_to_text: !function [a]\n"}, "mine.yaml, line 2: not YAML (expected a scalar"),
        ({"mine_yaml": "task: mine\nmetadata: {version: 2020-13-45}\n"}, "mine.yaml, line 2: YAML takes 2020-13-45"),
        ({"mine_yaml": "task: mine\nmetadata: &x {a: *x}\n"}, "mine.yaml, line 2: metadata.a is a part of itself"),
        (
            {"mine_yaml": "task: mine\ninclude: b.yaml\n", "b_yaml": "x: 1\ndoc_to_text: {{q}}\n"},
            "b.yaml, line 2: not YAML (a mapping or list stands for a key); mend it: put a text",
        ),
        ({"mine_yaml": "task: mine\ninclude: b.yaml\n", "b_yaml": ""}, "b.yaml: a task file holds fields"),
    ],
)
def test_a_task_file_that_is_not_what_it_seems_is_refused(tmp_path, files, sentence):
    write(tmp_path, **files)
    with pytest.raises(StudyError) as caught:
        task_files.find("mine", tmp_path)
    assert sentence in str(caught.value)
    with pytest.raises(StudyError) as caught:
        harness.task_config("mine", tmp_path, "datasets.d")
    assert sentence in str(caught.value)


def test_a_broken_file_of_another_task_is_of_no_concern(tmp_path):
    write(tmp_path, broken_yaml="task: [\n", mine_yaml=f"task: mine\n{PLAIN}")
    assert names(tmp_path, "mine") == ["mine.yaml"]


@pytest.mark.parametrize(
    ("choices", "written", "read"),
    [
        ("[yes, no]", "yes", "True"),
        ("[on, maybe]", "on", "True"),
        ("[0.50, '1']", "0.50", "0.5"),
        ("[a, 07]", "07", "7"),
        ("[1_000, 2]", "1_000", "1000"),
        ("['a', 12:30]", "12:30", "750"),
        ("[a, null]", "null", "None"),
        ("{first: Yes, second: a}", "Yes", "True"),
        ("[1e3, 2.e+3]", "2.e+3", "2000.0"),
        ("[2020-01-01, a]", None, None),
    ],
)
def test_choices_that_yaml_reads_as_something_else_must_be_quoted(tmp_path, choices, written, read):
    write(tmp_path, mine_yaml=f"task: mine\n{PLAIN}doc_to_choice: {choices}\n")
    if written is None:
        assert task_files.find("mine", tmp_path)
        return
    with pytest.raises(StudyError, match=r"mine\.yaml, line 7: ") as caught:
        task_files.find("mine", tmp_path)
    assert f"YAML reads the choice {written} as {read}; put it in quotes" in str(caught.value)


@pytest.mark.parametrize(
    "choices", ["[1, 2, -3]", "['yes', \"no\"]", "[0.5, 12]", "{a: x, b: y}", "'{{a}}'", "options"]
)
def test_choices_that_yaml_reads_as_written_pass(tmp_path, choices):
    write(tmp_path, mine_yaml=f"task: mine\n{PLAIN}doc_to_choice: {choices}\n")
    assert task_files.find("mine", tmp_path)


def test_a_studys_own_files_are_looked_for_beside_its_configuration_first(tmp_path, monkeypatch):
    for place in ("config/tasks", "my-study/tasks"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "mine.yaml").write_text("task: mine\n")
    (tmp_path / "config/tasks/other.yaml").write_text("task: other\n")
    monkeypatch.chdir(tmp_path)
    assert task_files.inputs("mine") == ["config/tasks/mine.yaml"]
    monkeypatch.setenv("ICLSCOPE_CONFIG", str(tmp_path / "my-study"))
    assert task_files.inputs("mine") == ["my-study/tasks/mine.yaml"]
    assert task_files.inputs("other") == ["config/tasks/other.yaml"]
    assert task_files.folder("boolq").resolve() == OWN
    monkeypatch.setenv("ICLSCOPE_CONFIG", str(tmp_path / "config"))
    assert task_files.inputs("mine") == ["config/tasks/mine.yaml"]


@pytest.mark.parametrize(
    ("choices", "classes"),
    [
        (["no", "yes"], True),
        (["a", "c"], True),
        (["World", "Sports"], True),
        (["A", "B", "C", "D", "E"], False),
        (["a", "b", "c"], False),
        (["0", "1"], True),
        ([], False),
    ],
)
def test_places_of_options_are_no_classes(choices, classes):
    assert task_files.are_classes(choices) is classes


@pytest.mark.parametrize(
    ("name", "choices"), [("boolq", ["no", "yes"]), ("asdiv_generate", []), ("openbookqa", None), ("none_such", None)]
)
def test_choices_that_all_rows_have_are_read_from_the_task_file(name, choices):
    assert task_files.fixed_choices(name) == choices
